"""${message}

Revision: ${up_revision}, after: ${down_revision | comma,n}
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A transaction of its own; env.py sets lock_timeout (1 s, tried again) and statement_timeout (60 s).
    # Expand first, contract in a later release. Indexes concurrently: `with op.get_context().autocommit_block():`
    ${upgrades if upgrades else "pass"}

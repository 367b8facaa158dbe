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
    # lock_timeout (4 s) and statement_timeout (60 s) are set by env.py: expand first, contract in a later release
    ${upgrades if upgrades else "pass"}

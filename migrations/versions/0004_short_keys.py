"""Images and uploads are found by short numbers.

Revision: 0004, after: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEXES = (("assets", "identity"), ("assets", "storage_key"), ("files", "storage_key"))


def upgrade() -> None:
    """Nobody waits for what is built concurrently, so it may wait for others. What a try before left is of no use."""
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout = 0")
        op.execute("set statement_timeout = 0")
        for table, column in INDEXES:
            name = op.f(f"ix_{table}_{column}_hash")
            key = sa.text(f"hashtextextended({column}, 0::bigint)")
            op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
            op.create_index(name, table, [key], postgresql_concurrently=True, if_not_exists=True)
        op.execute("analyze assets, files")
        op.execute("reset lock_timeout")
        op.execute("reset statement_timeout")

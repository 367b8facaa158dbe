"""What images and uploads were found by before.

Revision: 0005, after: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEXES = (
    ("assets", "ix_assets_organization_id_identity"),
    ("assets", "ix_assets_storage_key"),
    ("files", "ix_files_storage_key"),
)


def upgrade() -> None:
    """No code names an index, so none breaks; the functions that are applied next look for the others."""
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout = 0")
        op.execute("set statement_timeout = 0")
        for table, name in INDEXES:
            op.drop_index(op.f(name), table, postgresql_concurrently=True, if_exists=True)
        op.execute("reset lock_timeout")
        op.execute("reset statement_timeout")

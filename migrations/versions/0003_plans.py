"""The catalogue of plans.

Revision: 0003, after: 0002
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Typed, so that alembic can render the catalogue as SQL text.
PLAN_COLUMNS: dict[str, sa.types.TypeEngine[Any]] = {
    "id": sa.Text(),
    "name": sa.Text(),
    "monthly_credits": sa.Integer(),
    "price_amount": sa.Integer(),
    "price_currency": sa.Text(),
    "reuse_is_free": sa.Boolean(),
    "weight": sa.SmallInteger(),
    "images_at_once": sa.Integer(),
    "images_queued": sa.Integer(),
}
PLANS = (
    ("free", "Free", 100, 0, "USD", True, 1, 32, 1_000),
    ("pro", "Pro", 5_000, 29_00, "USD", False, 4, 128, 10_000),
    ("scale", "Scale", 100_000, 199_00, "USD", False, 10, 512, 50_000),
)


def upgrade() -> None:
    catalogue = sa.table("plans", *(sa.column(name, kind) for name, kind in PLAN_COLUMNS.items()))
    op.bulk_insert(catalogue, [dict(zip(PLAN_COLUMNS, plan, strict=True)) for plan in PLANS])

"""The catalogue of plans; written by the migrations alone."""

import msgspec
from sqlalchemy import select

from domain.accounts.models import OrganizationRow
from domain.money import Money
from domain.subscriptions.errors import PlanUnknown
from domain.subscriptions.models import Plan
from runtime.database import Reader, SystemTransaction


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """`weight` is the share of busy workers, against other plans' weights; `images_at_once` how many images of one
    organization are made at a time, `images_queued` how many may wait, at most.
    """

    id: str
    name: str
    monthly_credits: int
    price: Money
    reuse_is_free: bool
    weight: int
    images_at_once: int
    images_queued: int


async def catalogue(tx: Reader | SystemTransaction) -> list[PlanView]:
    """Cheapest first."""
    rows = await tx.execute(select(Plan.__table__).order_by(Plan.price_amount))
    return [
        PlanView(
            id=row.id,
            name=row.name,
            monthly_credits=row.monthly_credits,
            price=Money(amount=row.price_amount, currency=row.price_currency),
            reuse_is_free=row.reuse_is_free,
            weight=row.weight,
            images_at_once=row.images_at_once,
            images_queued=row.images_queued,
        )
        for row in rows
    ]


async def get(tx: Reader | SystemTransaction, plan: str) -> PlanView:
    """Raises PlanUnknown."""
    for offered in await catalogue(tx):
        if offered.id == plan:
            return offered
    raise PlanUnknown(f"there is no plan {plan!r:.40}")


async def reuse_is_free(tx: Reader) -> bool:
    """Whether the plan of the transaction's organization gives an image that was made before for nothing."""
    return bool(await tx.scalar(select(Plan.reuse_is_free).join(OrganizationRow, OrganizationRow.plan == Plan.id)))

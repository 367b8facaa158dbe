"""Generations and deliveries by the beginning of their ids, whichever organization's they are."""

from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Select, func, lateral, literal, null, select, true

from domain.accounts.models import OrganizationRow
from domain.events.models import EventRow
from domain.generations.models import GenerationRow
from domain.webhooks.models import Delivery
from runtime.database import SystemTransaction, row_dict

MOST: Final = 50
_LAST: Final = "~"
"""Comes after every letter of an id."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """`trail` is the page of the generation that it belongs to."""

    id: str
    organization_id: str
    organization_name: str
    status: str
    created_at: datetime
    trail: str | None


async def by_id(tx: SystemTransaction, beginning: str) -> list[Found]:
    """Newest first; each organization's part of a primary key is asked."""
    kind, _, _ = beginning.partition("_")
    if kind not in _KINDS:
        return []
    found = await tx.execute(_query(_KINDS[kind], beginning))
    return [_found(row_dict(row)) for row in found]


def _query(table: Any, beginning: str) -> Select[*tuple[Any, ...]]:
    told = table.event_id if table is Delivery else null()
    mine = (
        select(table.id, table.status, table.created_at, told.label("event_id"))
        .where(table.organization_id == OrganizationRow.organization_id)
        .where(table.id >= beginning, table.id < literal(beginning + _LAST))
        .order_by(table.id.desc())
        .limit(MOST)
    )
    each = lateral(mine.correlate(OrganizationRow)).alias("each")
    event = (EventRow.organization_id == OrganizationRow.organization_id) & (EventRow.id == each.c.event_id)
    return (
        select(
            each.c.id, OrganizationRow.organization_id, OrganizationRow.name.label("organization_name"),
            each.c.status, each.c.created_at, func.coalesce(EventRow.correlation_id, each.c.id).label("origin"),
        )
        .select_from(OrganizationRow)
        .join(each, true())
        .outerjoin(EventRow, event)
        .order_by(each.c.id.desc())
        .limit(MOST)
    )  # fmt: skip


def _found(row: dict[str, Any]) -> Found:
    origin = row.pop("origin")
    return Found(**row, trail=f"/trail/{origin}" if origin.startswith("gen_") else None)


_KINDS: Final[dict[str, Any]] = {"gen": GenerationRow, "dlv": Delivery}

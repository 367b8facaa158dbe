"""Reading events in the order of their positions: the only order in which a reader can miss nothing."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select

from domain.events.base import REGISTRY
from domain.events.models import EventRow, FeedEntry
from runtime.database import Reader


class FedEvent(msgspec.Struct, frozen=True):
    """One event with its place in the feed."""

    position: int
    id: str
    type: str
    subject: str
    occurred_at: datetime
    data: dict[str, Any]


async def after(
    tx: Reader, position: int, *, limit: int, subject: str | None = None, types: Collection[str] = ()
) -> list[FedEvent]:
    """The public events of the transaction's organization that come after a position, oldest first."""
    query = (
        select(FeedEntry.position, EventRow.id, EventRow.type, EventRow.subject, EventRow.occurred_at, EventRow.data)
        .join(
            EventRow,
            (EventRow.organization_id == FeedEntry.organization_id) & (EventRow.id == FeedEntry.event_id),
        )
        .where(FeedEntry.position > position, FeedEntry.type.in_(public_types(types)))
        .order_by(FeedEntry.position)
        .limit(limit)
    )
    if subject is not None:
        query = query.where(FeedEntry.subject == subject)
    return [FedEvent(*row) for row in await tx.execute(query)]


async def head(tx: Reader) -> int:
    """The newest position of the transaction's organization; 0 when it has no events."""
    newest = await tx.scalar(select(FeedEntry.position).order_by(FeedEntry.position.desc()).limit(1))
    return newest or 0


def public_types(wanted: Collection[str] = ()) -> list[str]:
    known = {name for name, event in REGISTRY.items() if event.public}
    return sorted(known & set(wanted) if wanted else known)

"""Reading events in the order of their positions: the only order in which a reader can miss nothing."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Select, literal_column, select

from domain.events.base import REGISTRY
from domain.events.errors import PositionExpired
from domain.events.models import EventRow, FeedEntry, FeedHorizon
from runtime.database import Reader

OVERALL: Final = FeedEntry.position + literal_column("0")
"""Positions, for who reads along those of all organizations (`FeedEntry`)."""
LOOK: Final = 1_000
"""How many entries are looked at for the types that somebody wants: no index knows them."""


class FedEvent(msgspec.Struct, frozen=True):
    """One event with its place in the feed."""

    position: int
    id: str
    type: str
    subject: str
    occurred_at: datetime
    data: dict[str, Any]


class Stretch(msgspec.Struct, frozen=True):
    """What was found up to `position`, which is where to go on; `more`: at once."""

    events: list[FedEvent]
    position: int
    more: bool


async def after(
    tx: Reader, position: int, *, limit: int, subject: str | None = None, types: Collection[str] = ()
) -> list[FedEvent]:
    """The public events of the transaction's organization that come after a position, oldest first."""
    query = _events().where(FeedEntry.position > position, FeedEntry.type.in_(public_types(types)))
    if subject is not None:
        query = query.where(FeedEntry.subject == subject)
    return [FedEvent(*row) for row in await tx.execute(query.limit(limit))]


async def stretch(tx: Reader, position: int, *, limit: int, types: Collection[str] = ()) -> Stretch:
    """As `after`, and never reads far: types may be rare, so their events may be further away than this reaches."""
    if not types:
        found = await after(tx, position, limit=limit + 1)
        kept = found[:limit]
        return Stretch(kept, kept[-1].position if kept else position, len(found) > limit)
    narrow = select(FeedEntry.position, FeedEntry.type).where(FeedEntry.position > position)
    seen = list(await tx.execute(narrow.order_by(FeedEntry.position).limit(LOOK)))
    wanted = public_types(types)
    fitting = [row.position for row in seen if row.type in wanted]
    kept = [FedEvent(*row) for row in await tx.execute(_events().where(FeedEntry.position.in_(fitting[:limit])))]
    if len(fitting) > limit:
        return Stretch(kept, fitting[limit - 1], more=True)  # not the last kept: all of them may just have been pruned
    return Stretch(kept, seen[-1].position if seen else position, len(seen) == LOOK)


async def check_kept(tx: Reader, position: int) -> None:
    """To be asked after reading, for a position that came from outside; 0 asks for whatever there is.

    Raises PositionExpired.
    """
    horizon = await tx.scalar(select(FeedHorizon.position))
    if horizon is not None and 0 < position < horizon:
        raise PositionExpired


async def head(tx: Reader) -> int:
    """The newest position of the transaction's organization; 0 when it has no events."""
    newest = await tx.scalar(select(FeedEntry.position).order_by(FeedEntry.position.desc()).limit(1))
    return newest or 0


def public_types(wanted: Collection[str] = ()) -> list[str]:
    known = {name for name, event in REGISTRY.items() if event.public}
    return sorted(known & set(wanted) if wanted else known)


def private_types() -> list[str]:
    """What `public_types` leaves out; a type that this code doesn't know is in neither."""
    return sorted(name for name, event in REGISTRY.items() if not event.public)


def _events() -> Select[*tuple[Any, ...]]:
    this = (EventRow.organization_id == FeedEntry.organization_id) & (EventRow.id == FeedEntry.event_id)
    shown = (FeedEntry.position, EventRow.id, EventRow.type, EventRow.subject, EventRow.occurred_at, EventRow.data)
    return select(*shown).join(EventRow, this).order_by(FeedEntry.position)

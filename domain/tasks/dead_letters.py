"""Tasks that wait for a person. Every change here leaves an audit entry."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import DBAPIError

from domain.audit import log as audit
from domain.events.models import SetAsideEvent
from domain.tasks.errors import DeadLetterNotFound, ExpansionFailed, SetAsideEventNotFound
from domain.tasks.models import TaskRow
from runtime.database import SystemTransaction, Transaction


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """`failures` are its failed tries and deaths, oldest first."""

    id: int
    organization_id: str
    event_id: str
    actor: str
    target: str
    subject: str
    attempts: int
    deaths: int
    failures: list[dict[str, Any]]
    ended_at: datetime


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """An event that could not be turned into tasks. Readers of the feed have seen it."""

    event_id: str
    organization_id: str
    type: str
    error: str
    set_aside_at: datetime


async def page(
    tx: SystemTransaction, *, after: int = 0, limit: int = 100, actor: str | None = None
) -> list[DeadLetter]:
    """Oldest first; `after` is the id of the last one of the page before."""
    query = _dead().where(TaskRow.id > after).order_by(TaskRow.id).limit(limit)
    if actor is not None:
        query = query.where(TaskRow.actor == actor)
    return [DeadLetter(**row._mapping) for row in await tx.execute(query)]  # noqa: SLF001 - SQLAlchemy's accessor


async def one(tx: SystemTransaction, task_id: int) -> DeadLetter:
    """Raises DeadLetterNotFound."""
    row = (await tx.execute(_dead().where(TaskRow.id == task_id))).one_or_none()
    if row is None:
        raise DeadLetterNotFound(f"there is no dead task {task_id}")
    return DeadLetter(**row._mapping)  # noqa: SLF001 - SQLAlchemy's accessor


async def revive(tx: Transaction, letter: DeadLetter, *, by: str) -> None:
    """The task starts over, its counts at zero: for actors whose business state did not end with it."""
    await _leave(tx, letter, state="ready", run_at=func.now(), attempts=0, deaths=0, ended_at=None)
    await audit.write(tx, letter.organization_id, by, "dead_letter.replayed", str(letter.id), actor=letter.actor)


async def supersede(tx: Transaction, letter: DeadLetter, *, by: str) -> None:
    """The domain has started the work anew under another event; this task is over."""
    await _leave(tx, letter, state="cancelled")
    await audit.write(tx, letter.organization_id, by, "dead_letter.replayed", str(letter.id), actor=letter.actor)


async def discard(tx: Transaction, letter: DeadLetter, *, by: str, reason: str) -> None:
    """Given up for good; what its death ended stays ended."""
    await _leave(tx, letter, state="cancelled")
    details = {"actor": letter.actor, "reason": reason}
    await audit.write(tx, letter.organization_id, by, "dead_letter.discarded", str(letter.id), **details)


async def set_aside(tx: SystemTransaction, *, after: str = "", limit: int = 100) -> list[SetAside]:
    """Oldest first; `after` is the id of the last event of the page before."""
    query = _aside().where(SetAsideEvent.event_id > after).order_by(SetAsideEvent.event_id).limit(limit)
    return [SetAside(**row._mapping) for row in await tx.execute(query)]  # noqa: SLF001 - SQLAlchemy's accessor


async def one_set_aside(tx: SystemTransaction, event_id: str) -> SetAside:
    """Raises SetAsideEventNotFound."""
    row = (await tx.execute(_aside().where(SetAsideEvent.event_id == event_id))).one_or_none()
    if row is None:
        raise SetAsideEventNotFound(f"the event {event_id:.64} is not set aside")
    return SetAside(**row._mapping)  # noqa: SLF001 - SQLAlchemy's accessor


async def expand_again(tx: SystemTransaction, event: SetAside, reactions: list[dict[str, Any]], *, by: str) -> None:
    """Writes its tasks now. It is not made pending again, or it would have a second place in the feed.

    Raises ExpansionFailed, after which the transaction is lost and the event stays where it is; SetAsideEventNotFound.
    """
    await _take_from_aside(tx, event)
    arguments = {"organization": event.organization_id, "event": event.event_id}
    try:
        await tx.execute(_EXPAND, arguments | {"reactions": msgspec.json.encode(reactions).decode()})
    except DBAPIError as error:
        raise ExpansionFailed(str(error.orig)) from error
    await audit.write(tx, event.organization_id, by, "set_aside_event.replayed", event.event_id, type=event.type)


async def drop(tx: SystemTransaction, event: SetAside, *, by: str, reason: str) -> None:
    """Nothing will react to it. Raises SetAsideEventNotFound."""
    await _take_from_aside(tx, event)
    details = {"type": event.type, "reason": reason}
    await audit.write(tx, event.organization_id, by, "set_aside_event.discarded", event.event_id, **details)


async def _take_from_aside(tx: SystemTransaction, event: SetAside) -> None:
    taken = await tx.execute(delete(SetAsideEvent).where(SetAsideEvent.event_id == event.event_id))
    if taken.rowcount != 1:
        raise SetAsideEventNotFound(f"the event {event.event_id} is not set aside any more")


async def _leave(tx: Transaction, letter: DeadLetter, **values: Any) -> None:
    changed = await tx.execute(update(TaskRow).where(TaskRow.id == letter.id, TaskRow.state == "dead").values(**values))
    if changed.rowcount != 1:
        raise DeadLetterNotFound(f"task {letter.id} is not dead any more")


def _dead() -> Any:
    columns = (getattr(TaskRow, name) for name in DeadLetter.__struct_fields__)
    return select(*columns).where(TaskRow.state == "dead")


def _aside() -> Any:
    return select(*(getattr(SetAsideEvent, name) for name in SetAside.__struct_fields__))


_EXPAND = text(
    "select expand_batch(array[cast(:organization as text)], array[cast(:event as text)], cast(:reactions as jsonb))"
)

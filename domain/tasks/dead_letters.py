"""Tasks that wait for a person, as the ledger knows them. Every end of the wait leaves an audit entry."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import cast, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH
from sqlalchemy.exc import DBAPIError

from domain.audit import log as audit
from domain.events.models import SetAsideEvent
from domain.tasks.errors import DeadLetterNotFound, ExpansionFailed, SetAsideEventNotFound
from domain.tasks.models import TaskRow
from runtime import clock
from runtime.database import SystemTransaction, Transaction, row_dict


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """`failures` are its failed tries and deaths, oldest first."""

    id: int
    organization_id: str
    event_id: str
    queue: str
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


async def one(tx: SystemTransaction, task_id: int) -> DeadLetter:
    """Raises DeadLetterNotFound."""
    columns = (getattr(TaskRow, name) for name in DeadLetter.__struct_fields__)
    row = (await tx.execute(select(*columns).where(TaskRow.state == "dead", TaskRow.id == task_id))).one_or_none()
    if row is None:
        raise DeadLetterNotFound(f"there is no dead task {task_id}")
    return DeadLetter(**row_dict(row))


async def revive(tx: Transaction, letter: DeadLetter, *, by: str, **details: str) -> None:
    """The task starts over, its counts at zero: for actors whose business state did not end with it."""
    await _leave(tx, letter, state="ready", run_at=func.now(), attempts=0, deaths=0, ended_at=None)
    await _note(tx, letter, by, "dead_letter.replayed", details)


async def supersede(tx: Transaction, letter: DeadLetter, *, by: str, **details: str) -> None:
    """The domain has started the work anew under another event; this task is over."""
    await _leave(tx, letter, state="cancelled")
    await _note(tx, letter, by, "dead_letter.replayed", details)


async def discard(tx: Transaction, letter: DeadLetter, *, by: str, reason: str, **details: str) -> None:
    """Given up for good; what its death ended stays ended."""
    await _leave(tx, letter, state="cancelled")
    await _note(tx, letter, by, "dead_letter.discarded", {"reason": reason} | details)


async def note_refusal(tx: Transaction, letter: DeadLetter, reason: str, code: str) -> None:
    """Why it was not replayed stands among its failures, in place of an earlier refusal; it stays dead."""
    entry = {"at": clock.rfc3339(clock.machine()), "kind": "refusal", "reason": f"{reason} ({code})"}
    before = func.jsonb_path_query_array(TaskRow.failures, cast('$[*] ? (@.kind != "refusal")', JSONPATH))
    told = before.op("||")(cast([entry], JSONB))
    query = update(TaskRow).where(TaskRow.id == letter.id, TaskRow.state == "dead")
    await tx.execute(query.values(failures=told))


async def set_aside(tx: SystemTransaction, *, after: str = "", limit: int = 100) -> list[SetAside]:
    """Oldest first; `after` is the id of the last event of the page before."""
    query = _aside().where(SetAsideEvent.event_id > after).order_by(SetAsideEvent.event_id).limit(limit)
    return [SetAside(**row_dict(row)) for row in await tx.execute(query)]


async def one_set_aside(tx: SystemTransaction, event_id: str) -> SetAside:
    """Raises SetAsideEventNotFound."""
    row = (await tx.execute(_aside().where(SetAsideEvent.event_id == event_id))).one_or_none()
    if row is None:
        raise SetAsideEventNotFound(f"the event {event_id:.64} is not set aside")
    return SetAside(**row_dict(row))


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


async def _note(tx: Transaction, letter: DeadLetter, by: str, action: str, details: dict[str, str]) -> None:
    await audit.write(tx, letter.organization_id, by, action, str(letter.id), actor=letter.actor, **details)


def _aside() -> Any:
    return select(*(getattr(SetAsideEvent, name) for name in SetAside.__struct_fields__))


_EXPAND = text(
    "select expand_batch(array[cast(:organization as text)], array[cast(:event as text)], cast(:reactions as jsonb))"
)

"""Tasks that wait for a person. Every change here leaves an audit entry."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import func, select, update

from domain.audit import log as audit
from domain.errors import NotFound
from domain.events.models import SetAsideEvent
from domain.tasks.models import TaskRow
from runtime.database import SystemTransaction, Transaction


class DeadLetterNotFound(NotFound):
    """There is no such dead task."""

    code = "dead_letter_not_found"


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


async def discard(tx: Transaction, letter: DeadLetter, *, by: str) -> None:
    await _leave(tx, letter, state="cancelled")
    await audit.write(tx, letter.organization_id, by, "dead_letter.discarded", str(letter.id), actor=letter.actor)


async def set_aside(tx: SystemTransaction, *, limit: int = 100) -> list[dict[str, Any]]:
    """Events whose expansion failed, oldest first."""
    query = select(SetAsideEvent.__table__).order_by(SetAsideEvent.event_id).limit(limit)
    return [dict(row._mapping) for row in await tx.execute(query)]  # noqa: SLF001 - SQLAlchemy's accessor


async def _leave(tx: Transaction, letter: DeadLetter, **values: Any) -> None:
    changed = await tx.execute(update(TaskRow).where(TaskRow.id == letter.id, TaskRow.state == "dead").values(**values))
    if changed.rowcount != 1:
        raise DeadLetterNotFound(f"task {letter.id} is not dead any more")


def _dead() -> Any:
    columns = (getattr(TaskRow, name) for name in DeadLetter.__struct_fields__)
    return select(*columns).where(TaskRow.state == "dead")

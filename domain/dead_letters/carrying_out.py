"""A bulk operation, slice by slice. Each slice is a task, and its end appends the event of the next one: whatever is
killed, another worker goes on with the slice, and a letter that was decided is passed over.
"""

import asyncio
import time
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from domain.dead_letters import decisions, letters, operations
from domain.dead_letters.letters import Filter
from domain.dead_letters.models import BulkDecision, BulkOperation
from domain.dead_letters.operations import HOME, Action
from domain.errors import DomainError
from domain.tasks import dead_letters
from domain.tasks.dead_letters import DeadLetter
from domain.tasks.errors import DeadLetterNotFound
from domain.tasks.models import TaskRow
from domain.tasks.outcomes import Done, Outcome, Task
from runtime import database_faults, failpoints
from runtime.database import Database, SystemDatabase, Transaction
from runtime.telemetry import logs

log = logs.logger(__name__)

SLICE_SECONDS: Final = 5.0
"""So short that a slice is hardly ever killed three times, which would bury it."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    action: Action
    filter: Filter
    rate: float
    reason: str
    position: int
    created_at: datetime

    @property
    def page(self) -> int:
        """Letters that are looked for at once: about a second's, for between two pages it is seen whether the operation
        was cancelled.
        """
        return max(1, round(self.rate))


class Slice(msgspec.Struct, frozen=True):
    """How far it came."""

    position: int
    over: bool


async def begin(tx: Transaction, task: Task) -> Plan | None:
    """None when it has ended meanwhile."""
    columns = (getattr(BulkOperation, name) for name in Plan.__struct_fields__)
    running = (BulkOperation.id == task.subject) & (BulkOperation.status == "running")
    row = (await tx.execute(select(*columns).where(BulkOperation.organization_id == HOME, running))).one_or_none()
    return msgspec.convert(row, Plan, from_attributes=True) if row else None


async def carry_out(plan: Plan, *, database: Database, system: SystemDatabase) -> Outcome:
    """Decides letter by letter for a few seconds, one at least."""
    pace = Pace(plan.rate, await _due_in(system, plan))
    ends, position = time.monotonic() + SLICE_SECONDS, plan.position
    while page := await _next(system, plan, position):
        for letter in page:
            await pace.keep()
            await _decide(database, plan, letter)
            failpoints.hit("dead_letters.after_decision")
            position = letter.id
            if time.monotonic() >= ends:
                return Done(Slice(position, over=False))
    return Done(Slice(position, over=True))


async def record(tx: Transaction, _: Task, plan: Plan, outcome: Outcome) -> None:
    match outcome:
        case Done(result=Slice(over=True)):
            await operations.end(tx, plan.id, "completed")
        case Done(result=Slice(position=position)):
            await operations.advance(tx, plan.id, position)


class Pace:
    """At most so many a second; what was missed is not made up for."""

    def __init__(self, rate: float, first: float) -> None:
        self._gap = 1 / rate
        self._due = time.monotonic() + first

    async def keep(self) -> None:
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))
        self._due = max(self._due, time.monotonic()) + self._gap


async def _due_in(system: SystemDatabase, plan: Plan) -> float:
    """Seconds until the next letter may be decided; the slice before, or a worker that is gone, has just done so."""
    row = await system.call(_SINCE_THE_LAST, plan.id)
    return 0.0 if row is None or row[0] is None else max(0.0, 1 / plan.rate - float(row[0]))


async def _next(system: SystemDatabase, plan: Plan, position: int) -> list[DeadLetter]:
    """None are left, or none may be decided any more: it was cancelled."""
    decided = select(1).where(BulkDecision.operation_id == plan.id, BulkDecision.task_id == TaskRow.id)
    running = select(1).where(BulkOperation.id == plan.id, BulkOperation.status == "running")
    conditions: list[Any] = [
        *letters.fitting(plan.filter),
        position < letters.BY_ID,
        TaskRow.ended_at <= plan.created_at,
        ~decided.where(BulkDecision.organization_id == TaskRow.organization_id).exists(),
        running.where(BulkOperation.organization_id == HOME).exists(),
    ]
    async with system.system_transaction() as tx:
        return await letters.some(tx, conditions, limit=plan.page)


async def _decide(database: Database, plan: Plan, letter: DeadLetter) -> None:
    try:
        async with database.transaction(letter.organization_id) as tx:
            if not await _note(tx, plan, letter, _DONE[plan.action]):
                return
            await _carry_out_on(tx, plan, letter)
    except DeadLetterNotFound:  # somebody else has decided
        return
    except DomainError as refusal:
        await _refuse(database, plan, letter, refusal.detail, refusal.code)
        return
    except Exception as error:
        if isinstance(error, database_faults.ANY) or database_faults.is_disconnect(error):
            raise
        log.error("a dead letter could not be decided", task=str(letter.id), error=type(error).__name__)  # noqa: TRY400 - a traceback's texts quote data
        await _refuse(database, plan, letter, "something went wrong here", "internal_error")
        return
    decisions.DECIDED.labels(_DONE[plan.action]).inc()


async def _refuse(database: Database, plan: Plan, letter: DeadLetter, reason: str, code: str) -> None:
    async with database.transaction(letter.organization_id) as tx:
        if await _note(tx, plan, letter, "refused", code):
            await dead_letters.note_refusal(tx, letter, reason, code)
    decisions.DECIDED.labels("refused").inc()


async def _carry_out_on(tx: Transaction, plan: Plan, letter: DeadLetter) -> None:
    if plan.action == "replay":
        await decisions.begin_anew(tx, letter, operation=plan.id)
    else:
        details = {"by": decisions.OPERATOR, "reason": plan.reason, "operation": plan.id}
        await dead_letters.discard(tx, letter, **details)


async def _note(tx: Transaction, plan: Plan, letter: DeadLetter, outcome: str, code: str | None = None) -> bool:
    """False when the operation has decided this letter before."""
    decision = {"organization_id": letter.organization_id, "operation_id": plan.id, "task_id": letter.id}
    written = insert(BulkDecision).values(**decision, outcome=outcome, code=code, decided_at=func.clock_timestamp())
    return (await tx.execute(written.on_conflict_do_nothing())).rowcount == 1


_DONE: Final[dict[Action, str]] = {"replay": "replayed", "discard": "discarded"}
_SINCE_THE_LAST: Final = """
    select extract(epoch from now() - max(d.decided_at)) from bulk_decisions d where d.operation_id = $1
"""

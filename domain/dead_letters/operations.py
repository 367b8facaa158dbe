"""Bulk operations: begun, looked at, cancelled. How one is carried out is in `carrying_out`."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from domain.audit import log as audit
from domain.dead_letters import letters
from domain.dead_letters.errors import BulkOperationNotFound, BulkOperationOver
from domain.dead_letters.events import BulkOperationAdvanced, BulkOperationEnded, BulkOperationStarted
from domain.dead_letters.letters import Filter
from domain.dead_letters.models import BulkDecision, BulkOperation
from domain.events import log
from domain.pages import Page, PageRequest
from domain.tasks.dead_letters import DeadLetter
from domain.tasks.errors import DeadLetterNotReplayable
from domain.tasks.outcomes import Task
from runtime import ids
from runtime.database import Database, SystemDatabase, SystemTransaction, Transaction, row_dict

Action = Literal["replay", "discard"]
Status = Literal["running", "completed", "cancelled", "failed"]

HOME: Final = ids.SYSTEM_ORGANIZATION
SLOWEST: Final = 0.1
QUICKEST: Final = 100.0

Rate = Annotated[float, msgspec.Meta(ge=SLOWEST, le=QUICKEST)]


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be done with the dead letters that fit `filter`; an empty one is fitted by all. `rate`: letters a
    second, at most. `reason` is kept in the audit trail; who discards gives one.
    """

    action: Action
    filter: Filter
    rate: Rate = 10.0
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""

    def __post_init__(self) -> None:
        if self.action == "discard" and not self.reason.strip():
            raise ValueError("a discard takes a reason")


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """`matched` are the letters that fitted when it began. Those that at its end are neither replayed, discarded nor
    refused had been decided by somebody else meanwhile. `refused_by_code`: how many the domain refused, and why.
    """

    id: str
    action: Action
    filter: Filter
    rate: float
    reason: str
    status: Status
    matched: int
    replayed: int
    discarded: int
    refused: int
    refused_by_code: dict[str, int]
    created_at: datetime
    ended_at: datetime | None

    @property
    def decided(self) -> int:
        return self.replayed + self.discarded + self.refused


async def start(
    database: Database, system: SystemDatabase, wanted: Wanted, *, by: str, operation_id: str | None = None
) -> str:
    """Its id. The same `operation_id` twice starts it once."""
    async with system.system_transaction() as across:
        matched = await letters.count(across, wanted.filter)
    operation_id = operation_id or ids.new("blk")
    values = {"organization_id": HOME, "id": operation_id, "by": by, "matched": matched}
    values |= {"action": wanted.action, "rate": wanted.rate, "reason": wanted.reason}
    async with database.transaction(HOME) as tx:
        new = insert(BulkOperation).values(filter=msgspec.to_builtins(wanted.filter), **values)
        if (await tx.execute(new.on_conflict_do_nothing())).rowcount == 0:
            return operation_id
        await log.append(tx, HOME, BulkOperationStarted(subject=operation_id, action=wanted.action, matched=matched))
        await audit.write(tx, HOME, by, "bulk_operation.started", operation_id, wanted=msgspec.to_builtins(wanted))
    return operation_id


async def cancel(database: Database, operation_id: str, *, by: str) -> None:
    """Within about a second nothing more is decided. Raises BulkOperationNotFound, BulkOperationOver."""
    async with database.transaction(HOME) as tx:
        if not await end(tx, operation_id, "cancelled"):
            if await tx.scalar(select(BulkOperation.id).where(_is(operation_id))) is None:
                raise BulkOperationNotFound
            raise BulkOperationOver
        await audit.write(tx, HOME, by, "bulk_operation.cancelled", operation_id)


async def get(tx: SystemTransaction, operation_id: str) -> Operation:
    """Raises BulkOperationNotFound."""
    row = (await tx.execute(select(*_COLUMNS).where(_is(operation_id)))).one_or_none()
    if row is None:
        raise BulkOperationNotFound
    return (await _with_counts(tx, [row]))[0]


async def page(tx: SystemTransaction, wanted: PageRequest) -> Page[Operation]:
    """Newest first."""
    query = select(*_COLUMNS).where(BulkOperation.organization_id == HOME)
    if wanted.after is not None:
        query = query.where(BulkOperation.id < wanted.after)
    found = list(await tx.execute(query.order_by(BulkOperation.id.desc()).limit(wanted.limit + 1)))
    kept = found[: wanted.limit]
    return Page(await _with_counts(tx, kept), kept[-1].id if len(found) > wanted.limit else None)


async def end(tx: Transaction, operation_id: str, status: Status) -> bool:
    """False when it had ended before."""
    ended = await tx.execute(
        update(BulkOperation).where(_is(operation_id), BulkOperation.status == "running").values(
            status=status, ended_at=func.now()
        )
    )  # fmt: skip
    if ended.rowcount == 1:
        await log.append(tx, HOME, BulkOperationEnded(subject=operation_id, status=status))
    return ended.rowcount == 1


async def fail(tx: Transaction, task: Task) -> None:
    """Reaction to the death of its task: it stands still until that dead letter is replayed."""
    await end(tx, task.subject, "failed")


async def resume(tx: Transaction, letter: DeadLetter) -> None:
    """Of a dead slice: goes on where it had come to. Raises DeadLetterNotReplayable."""
    position = await tx.scalar(
        update(BulkOperation)
        .where(_is(letter.subject), BulkOperation.status == "failed")
        .values(status="running", ended_at=None)
        .returning(BulkOperation.position)
    )
    if position is None:
        raise DeadLetterNotReplayable("its bulk operation has ended")
    await log.append(tx, HOME, BulkOperationAdvanced(subject=letter.subject, position=position))


async def advance(tx: Transaction, operation_id: str, position: int) -> None:
    """A slice is done and there is more; nothing, when it has ended meanwhile."""
    advanced = await tx.execute(
        update(BulkOperation).where(_is(operation_id), BulkOperation.status == "running").values(position=position)
    )
    if advanced.rowcount == 1:
        await log.append(tx, HOME, BulkOperationAdvanced(subject=operation_id, position=position))


async def _with_counts(tx: SystemTransaction, rows: list[Any]) -> list[Operation]:
    query = (
        select(BulkDecision.operation_id, BulkDecision.outcome, BulkDecision.code, func.count().label("count"))
        .where(BulkDecision.operation_id.in_([row.id for row in rows]))
        .group_by(BulkDecision.operation_id, BulkDecision.outcome, BulkDecision.code)
    )
    counts = list(await tx.execute(query)) if rows else []
    return [
        _operation(row_dict(row), [row_dict(each) for each in counts if each.operation_id == row.id]) for row in rows
    ]


def _operation(row: dict[str, Any], counts: list[dict[str, Any]]) -> Operation:
    def total(outcome: str) -> int:
        return sum(each["count"] for each in counts if each["outcome"] == outcome)

    return Operation(
        **row | {"filter": msgspec.convert(row["filter"], Filter)},
        replayed=total("replayed"),
        discarded=total("discarded"),
        refused=total("refused"),
        refused_by_code={each["code"]: each["count"] for each in counts if each["outcome"] == "refused"},
    )


def _is(operation_id: str) -> Any:
    return (BulkOperation.organization_id == HOME) & (BulkOperation.id == operation_id)


_COLUMNS: Final[tuple[Any, ...]] = tuple(
    getattr(BulkOperation, name)
    for name in ("id", "action", "filter", "rate", "reason", "status", "matched", "created_at", "ended_at")
)

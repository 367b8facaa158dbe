"""Taking tasks, keeping them, giving them back, and ending them. The SQL is in `claims.sql` and `recovery.sql`."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import msgspec
from sqlalchemy import func, text, update

from domain.tasks.models import TaskRow
from domain.tasks.outcomes import Task
from runtime import clock
from runtime.database import SystemDatabase, Transaction

CLAIM: Final = "claim_tasks"
"""The SQL function that claims; another one of its signature may begin the work in the same transaction."""

_RENEW = "select * from renew_leases($1, $2, $3, $4)"
_GIVE_BACK = "select give_back_tasks($1, $2)"


async def claim(
    system: SystemDatabase,
    ids: Sequence[int],
    *,
    actors: Collection[str],
    owner: str,
    lease: timedelta,
    number: int | None = None,
    function: str = CLAIM,
) -> list[Task]:
    """Those of the tasks that could be had; the others are someone else's, ended, or not due. `number` is the one that
    the process holds (`owners`); `function`: what claims them. To be asked again when nobody knows whether it took
    place, but never for a task that the owner holds: that would revoke it.
    """
    statement = f"select * from {function}($1, $2, $3, $4, $5)"  # noqa: S608 - named by code alone
    rows = await system.call_many(statement, list(ids), list(actors), owner, number, lease)
    return [Task(**row) for row in rows]


async def renew(
    connection: asyncpg.Connection, held: dict[int, int], lease: timedelta, *, number: int | None = None
) -> set[int]:
    """Of the held tasks (id → token) those that are still ours; runs on the heartbeat's own connection."""
    rows = await connection.fetch(_RENEW, list(held), list(held.values()), number, lease)
    return {row[0] for row in rows}


async def give_back(system: SystemDatabase, held: dict[int, int]) -> int:
    """Ready again at once, no count raised; how many were still ours."""
    row = await system.call(_GIVE_BACK, list(held), list(held.values()))
    return int(row[0]) if row else 0


async def finish(tx: Transaction, task: Task) -> bool:
    """The fence of a record: true when the task was still ours, and is done now."""
    return await _leave(tx, task, state="done", ended_at=func.now())


async def postpone(tx: Transaction, task: Task, at: datetime, *, reason: str, counts: bool) -> bool:
    """Ready again at a later time; a Retry counts as an attempt, a Snooze does not. As long from now as it is by this
    process's clock, which may be wrong: tasks are due by the database's.
    """
    values: dict[str, Any] = {"state": "ready", "run_at": func.now() + max(at - clock.machine(), timedelta())}
    if counts:
        values |= {
            "attempts": TaskRow.attempts + 1,
            "failures": TaskRow.failures.op("||")(func.jsonb_build_object(*_failure(reason))),
        }
    return await _leave(tx, task, **values)


async def bury(tx: Transaction, task: Task, *, reason: str) -> bool:
    """Dead: waits for a person. The same statement appends `task.died`."""
    parameters = {"task": task.id, "token": task.lease_token, "failure": msgspec.json.encode(_entry(reason)).decode()}
    return bool(await tx.scalar(_BURY, parameters))


async def withdraw(tx: Transaction, event_ids: Collection[str], actor: str) -> int:
    """Cancels an actor's tasks for these events; a running one loses its token, so that its record is fenced off."""
    result = await tx.execute(
        update(TaskRow)
        .where(TaskRow.event_id.in_(event_ids), TaskRow.actor == actor)
        .where(TaskRow.state.in_(("ready", "dispatched", "running")))
        .values(state="cancelled", ended_at=func.now(), lease_until=None, lease_token=None)
    )
    return result.rowcount


async def _leave(tx: Transaction, task: Task, **values: Any) -> bool:
    result = await tx.execute(
        update(TaskRow)
        .where(TaskRow.id == task.id, TaskRow.lease_token == task.lease_token, TaskRow.state == "running")
        .values(lease_until=None, **values)
    )
    return result.rowcount == 1


def _entry(reason: str) -> dict[str, str]:
    return {"at": clock.rfc3339(clock.machine()), "kind": "failure", "reason": reason[:500]}


def _failure(reason: str) -> list[str]:
    return [part for pair in _entry(reason).items() for part in pair]


_BURY = text("select bury_task(:task, :token, cast(:failure as jsonb))")

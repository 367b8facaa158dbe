"""Deleting what has been kept for long enough, a batch at a time and never in a hurry. See `retention.sql`."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from domain.events import feed
from domain.tasks.outcomes import Done, Outcome, Task
from runtime import clock, failpoints, ids
from runtime.database import SystemDatabase, Transaction
from runtime.settings import Settings
from runtime.telemetry import logs, metrics

log = logs.logger(__name__)

BATCH: Final = 1_000
REST_SECONDS: Final = 0.05
"""Between two batches, so that others get their turn."""
TICKS_KEPT: Final = timedelta(days=30)
BULK_OPERATIONS_KEPT: Final = timedelta(days=30)
"""After their end."""

PRUNED = metrics.counter("atelier_pruned_rows_total", "Rows that were deleted because of their age.", ["table"])

_TASKS = "select prune_tasks($1, $2)"
_KEYS = "select prune_idempotency_keys($1, $2)"
_DELIVERIES = "select prune_deliveries($1, $2)"
_ATTEMPTS = "select prune_attempts($1, $2)"
_NOTIFICATIONS = "select prune_notifications($1, $2)"
_LOG = "select * from prune_log($1, $2, $3, $4)"
_BULK_OPERATIONS = "select prune_bulk_operations($1, $2)"
_TICKS = "select prune_ticks($1)"


async def begin(tx: Transaction, task: Task) -> str:  # noqa: ARG001 - every `prepare` gets a transaction
    """There is nothing to prepare; the plan is what came due."""
    return task.subject


async def sweep(plan: str, *, system: SystemDatabase, settings: Settings) -> Outcome:
    """Tasks that have ended, and answers kept for Idempotency-Keys."""
    now = clock.machine()
    tasks_before = now - timedelta(days=settings.task_retention_days)
    keys_before = now - timedelta(hours=settings.idempotency_retention_hours)
    counts = {
        "tasks": await _prune(system, _TASKS, tasks_before),
        "idempotency_keys": await _prune(system, _KEYS, keys_before),
    }
    return _done(plan, counts)


async def prune(plan: str, *, system: SystemDatabase, settings: Settings) -> Outcome:
    """Deliveries first: an event that they speak of stays."""
    now = clock.machine()
    counts = {}
    for table, statement, prefix, days in (
        ("deliveries", _DELIVERIES, "dlv", settings.delivery_retention_days),
        ("delivery_attempts", _ATTEMPTS, "att", settings.attempt_retention_days),
        ("notifications", _NOTIFICATIONS, "ntf", settings.notification_retention_days),
    ):
        if days:
            counts[table] = await _prune(system, statement, ids.earliest(prefix, now - timedelta(days=days)))
    failpoints.hit("upkeep.before_log")
    if days := settings.event_retention_days:
        counts["events"] = await _prune_log(system, now - timedelta(days=days))
    counts["bulk_decisions"] = await _prune(system, _BULK_OPERATIONS, now - BULK_OPERATIONS_KEPT)
    row = await system.call(_TICKS, now - TICKS_KEPT)
    counts["schedule_ticks"] = row[0] if row else 0
    return _done(plan, counts)


async def _prune(system: SystemDatabase, statement: str, before: object) -> int:
    total = 0
    async for _ in _unhurried():
        row = await system.call(statement, before, BATCH)
        gone = row[0] if row else 0
        total += gone
        failpoints.hit("upkeep.between_batches")
        if gone < BATCH:
            break
    return total


async def _prune_log(system: SystemDatabase, before: object) -> int:
    """Along the feed, from its beginning to the first page that is too young."""
    total, position, private = 0, 0, feed.private_types()
    async for _ in _unhurried():
        row = await system.call(_LOG, before, position, BATCH, private)
        total += row["gone"] if row else 0
        if row is None or row["last"] is None:
            break
        position = row["last"]
    return total


async def _unhurried() -> AsyncIterator[None]:
    while True:
        yield
        await asyncio.sleep(REST_SECONDS)


def _done(plan: str, counts: dict[str, int]) -> Outcome:
    for table, gone in counts.items():
        PRUNED.labels(table).inc(gone)
    log.info("pruned", schedule=plan, **counts)
    return Done()

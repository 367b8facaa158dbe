"""The two database steps of a delivery, for many deliveries of several organizations at once. What does not fit the
common case is left to `deliveries`, one by one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import asyncpg
import msgspec

from domain.tasks.outcomes import DescribeMany, Done, Outcome, Task
from domain.webhooks import deliveries, lanes, payloads, transport
from domain.webhooks.deliveries import Plan, Tried
from runtime import failpoints, ids
from runtime.database import SystemDatabase

_LOAD = "select * from load_deliveries($1, $2, $3)"
_KEEP = "select * from keep_bodies($1, $2, $3)"
_RECORD = "select * from record_deliveries($1::jsonb)"

Bodies = dict[tuple[str, str], bytes]
"""By organization and delivery."""


async def prepare(system: SystemDatabase, tasks: Sequence[Task], *, describe_many: DescribeMany) -> list[Plan | None]:
    """As `deliveries.prepare` for each. None: a replay, or an endpoint that is gone or disabled."""
    first = [task for task in tasks if task.target]
    rows, told = await asyncio.gather(
        system.call_many(
            _LOAD,
            [task.organization_id for task in first],
            [task.event_id for task in first],
            [task.target for task in first],
        ),
        _described(system, [task for task in first if not task.attempts], describe_many),
    )
    found = {(row["organization_id"], row["event_id"], row["endpoint_id"]): row for row in rows}
    pairs = [(task, found.get((task.organization_id, task.event_id, task.target))) for task in tasks]
    new = [(task, row) for task, row in pairs if row is not None and row["body"] is None]
    told |= await _described(system, [task for task, _ in new if task.id not in told], describe_many)
    kept = {(row["organization_id"], row["id"]): row["body"] for row in rows if row["body"] is not None}
    bodies = kept | await _keep(system, new, told)
    return [_plan(task, row, bodies) if row is not None else None for task, row in pairs]


def fits(plan: Plan, outcome: Outcome) -> bool:
    """Whether `record` is for this end: it arrived, and there is nothing new to be said of the endpoint."""
    return (
        isinstance(outcome, Done)
        and outcome.result.result.outcome is transport.Outcome.DELIVERED
        and plan.failing_since is None
        and (plan.slow_since is not None) == lanes.is_slow(outcome.result.result.duration_ms)
    )


async def record(system: SystemDatabase, ended: Sequence[tuple[Task, Plan, Outcome]]) -> list[bool]:
    """As `deliveries.record` for each, in one flushed statement; false for a task that was not ours any more."""
    text = msgspec.json.encode([_result(task, plan, outcome) for task, plan, outcome in ended]).decode()
    ours = {row[0] for row in await system.call_many(_RECORD, text)}
    return [task.id in ours for task, _, _ in ended]


async def _described(system: SystemDatabase, tasks: Sequence[Task], describe_many: DescribeMany) -> dict[int, Any]:
    """By task."""
    if not tasks:
        return {}
    described = await describe_many(system, [(task.organization_id, task.event) for task in tasks])
    return {task.id: data for task, data in zip(tasks, described, strict=True)}


async def _keep(system: SystemDatabase, new: Sequence[tuple[Task, asyncpg.Record]], told: Mapping[int, Any]) -> Bodies:
    """Bodies that are built now, and kept before anything is sent."""
    if not new:
        return {}
    built = [payloads.build(task.event, task.occurred_at, told[task.id]) for task, _ in new]
    kept = await system.call_many(
        _KEEP, [row["organization_id"] for _, row in new], [row["id"] for _, row in new], built
    )
    failpoints.hit("webhook.after_body")
    return {(row["organization_id"], row["id"]): row["body"] for row in kept}


def _plan(task: Task, row: asyncpg.Record, bodies: Bodies) -> Plan | None:
    body = bodies.get((row["organization_id"], row["id"]))
    if body is None:  # deleted in between
        return None
    return Plan(
        organization_id=task.organization_id,
        delivery_id=row["id"],
        endpoint_id=row["endpoint_id"],
        message_id=row["event_id"],
        url=row["url"],
        secrets=deliveries.active_secrets(row["secret"], row["previous_secret"], row["previous_secret_until"]),
        body=body,
        tries=task.attempts,
        failing_since=row["failing_since"],
        slow_since=row["slow_since"],
        traceparent=task.traceparent,
    )


def _result(task: Task, plan: Plan, outcome: Outcome) -> dict[str, Any]:
    tried: Tried = cast(Done, outcome).result  # `fits` has looked
    return {
        "task": task.id,
        "token": task.lease_token,
        "organization": task.organization_id,
        "delivery": plan.delivery_id,
        "attempt": ids.new("att"),
        "started_at": tried.started_at,
        "duration_ms": tried.result.duration_ms,
        "status_code": tried.result.status_code,
        "response_body": tried.result.response_body,
    }

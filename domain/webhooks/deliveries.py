"""One event for one endpoint, sent until it is answered with 2xx or its schedule is used up.

The three steps of the actor `webhooks.deliver`, what ends a delivery whose task died, and the customer's replay.
"""

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Row, ScalarSelect, Select, func, insert, literal, select, update

from domain.events import base, log
from domain.events.models import EventRow
from domain.tasks import replays
from domain.tasks.dead_letters import DeadLetter
from domain.tasks.events import TaskDied
from domain.tasks.models import TaskRow
from domain.tasks.outcomes import Describe, Done, Outcome, Retry, Snooze, Task
from domain.webhooks import backoff, endpoints, events, lanes, payloads, signing, transport
from domain.webhooks.errors import DeliveryNotFound, DeliveryPending, EndpointDisabled
from domain.webhooks.lanes import SlowEndpoints
from domain.webhooks.models import Delivery, DeliveryAttempt, WebhookEndpoint
from runtime import clock, failpoints, ids
from runtime.database import Transaction
from runtime.encryption import Keyring
from runtime.outbound import Outbound
from runtime.settings import Settings
from runtime.telemetry import metrics, tracing

DELIVER: Final = "webhooks.deliver"
"""The actor's name."""

PATIENCE: Final = timedelta(days=5)
"""An endpoint that nothing reached for so long is disabled when the next delivery has used up its schedule."""

_BUSY_PAUSE = timedelta(seconds=5)

ATTEMPTS = metrics.counter("atelier_webhook_attempts_total", "Attempts to deliver, by what came of them", ["outcome"])
ATTEMPT_SECONDS = metrics.histogram(
    "atelier_webhook_attempt_seconds", "One attempt, from the dial to the end of the answer"
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What `send` needs to know. `secrets` are encrypted; `tries` are the failed ones of this schedule.

    `message_id` is the webhook-id, by which a receiver drops what it has had: the id of the event, at every attempt
    and every replay.
    """

    organization_id: str
    delivery_id: str
    endpoint_id: str
    message_id: str
    url: str
    secrets: tuple[bytes, ...]
    body: bytes
    tries: int
    failing_since: datetime | None
    slow_since: datetime | None
    traceparent: str | None


class Tried(msgspec.Struct, frozen=True):
    """One attempt that was made."""

    started_at: datetime
    result: transport.AttemptResult


async def prepare(tx: Transaction, task: Task, *, describe: Describe) -> Plan | None:
    """None when the delivery was taken away, or its endpoint is disabled or deleted (then the delivery has failed)."""
    row = (await tx.execute(_delivery_and_endpoint(task))).one_or_none()
    if row is None:
        return None
    if row.endpoint_status != "enabled":
        await _set(tx, task.organization_id, row.id, **_failed(f"endpoint_{row.endpoint_status}"))
        return None
    return Plan(
        organization_id=task.organization_id,
        delivery_id=row.id,
        endpoint_id=row.endpoint_id,
        message_id=row.event_id,
        url=row.url,
        secrets=active_secrets(row.secret, row.previous_secret, row.previous_secret_until),
        body=row.body or await _build(tx, task, row, describe),
        tries=task.attempts,
        failing_since=row.failing_since,
        slow_since=row.slow_since,
        traceparent=task.traceparent,
    )


async def send(
    plan: Plan, *, outbound: Outbound, keyring: Keyring, settings: Settings, slow_endpoints: SlowEndpoints
) -> Outcome:
    """One attempt, signed now with all secrets that are valid now."""
    context = endpoints.context(plan.organization_id, plan.endpoint_id)
    secrets = [keyring.decrypt(secret, context=context).decode() for secret in plan.secrets]
    started_at = clock.machine()
    with tracing.start_span("webhook attempt", {"delivery": plan.delivery_id}, kind="client"):
        headers = signing.sign(secrets, plan.message_id, started_at, plan.body)
        if traceparent := tracing.current_traceparent() or plan.traceparent:
            headers["traceparent"] = traceparent
        failpoints.hit("webhook.before_send")
        with slow_endpoints.watching(plan.organization_id, plan.endpoint_id):
            result = await transport.send(
                outbound, url=plan.url, headers=headers, body=plan.body, timeout=settings.webhook_timeout
            )
    ATTEMPTS.labels(result.outcome.value).inc()
    ATTEMPT_SECONDS.observe(result.duration_ms / 1000)
    if result.outcome is transport.Outcome.DELIVERED:
        failpoints.hit("webhook.after_2xx")
    elif result.outcome is transport.Outcome.RETRY:
        failpoints.hit("webhook.after_refusal")
    return _outcome(plan, Tried(started_at, result))


async def record(tx: Transaction, task: Task, plan: Plan, outcome: Outcome) -> None:
    """The attempt, what became of the delivery, and what it says of the endpoint. No event: see `events`."""
    match outcome:
        case Done(result=Tried() as tried) if tried.result.outcome is transport.Outcome.DISABLE:
            end = _failed("endpoint_gone")
        case Done(result=Tried() as tried):
            end = {"status": "delivered", "delivered_at": func.now(), "next_attempt_at": None}
        case Retry(result=Tried() as tried, final=True):
            end = _failed("attempts_exhausted")
        case Retry(result=Tried() as tried):
            end = {"status": "pending", "next_attempt_at": _due(task)}
        case _:
            return
    if await _note(tx, plan, tried, end):
        failpoints.hit("webhook.before_judgement")
        await _judge_endpoint(tx, plan, tried, task.cause, last="failure_code" in end)


async def give_up(tx: Transaction, task: Task) -> None:
    """Reaction to the death of a delivery's task: whatever it died of, the delivery ends."""
    died = task.event
    assert isinstance(died, TaskDied)  # noqa: S101 - REACTIONS sends nothing else here
    query = select(TaskRow.event_id, TaskRow.target, TaskRow.subject).where(
        TaskRow.organization_id == task.organization_id, TaskRow.id == died.task, TaskRow.state == "dead"
    )
    dead = (await tx.execute(query)).one_or_none()
    if dead is not None:
        await tx.execute(
            update(Delivery)
            .where(Delivery.organization_id == task.organization_id, *_of_task(dead))
            .where(Delivery.status == "pending")
            .values(**_failed("internal_error"))
        )


async def replay(tx: Transaction, organization: str, delivery_id: str, *, traceparent: str | None = None) -> None:
    """The same bytes under the same id once more, on a schedule of its own.

    Raises DeliveryNotFound, DeliveryPending, EndpointDisabled.
    """
    begun = await _begin_anew(tx, organization, delivery_id, traceparent)
    await replays.supersede(
        tx, organization, actor=DELIVER, event_id=begun.event_id, target=begun.endpoint_id, subject=delivery_id
    )


async def replay_dead(tx: Transaction, letter: DeadLetter) -> None:
    """Of a dead delivery's task, which the caller ends. Raises as `replay` does."""
    query = select(Delivery.id).where(Delivery.organization_id == letter.organization_id, *_of_task(letter))
    delivery_id = await tx.scalar(query)
    if delivery_id is None:
        raise DeliveryNotFound
    await _begin_anew(tx, letter.organization_id, delivery_id, None)


async def _begin_anew(
    tx: Transaction, organization: str, delivery_id: str, traceparent: str | None
) -> Row[*tuple[Any, ...]]:
    query = (
        select(
            Delivery.event_id,
            Delivery.endpoint_id,
            Delivery.status,
            WebhookEndpoint.status.label("endpoint_status"),
            func.coalesce(EventRow.correlation_id, Delivery.id).label("correlation_id"),
        )
        .join(WebhookEndpoint, _SAME_ENDPOINT)
        .outerjoin(EventRow, (EventRow.organization_id == organization) & (EventRow.id == Delivery.event_id))
        .where(Delivery.organization_id == organization, Delivery.id == delivery_id)
        .with_for_update(of=Delivery)
    )
    row = (await tx.execute(query)).one_or_none()
    if row is None or row.endpoint_status == endpoints.DELETED:
        raise DeliveryNotFound
    if row.status == "pending":
        raise DeliveryPending
    if row.endpoint_status == "disabled":
        raise EndpointDisabled
    await _set(tx, organization, delivery_id, status="pending", failure_code=None, next_attempt_at=func.now())
    fact = events.DeliveryReplayed(subject=delivery_id, endpoint=row.endpoint_id)
    await log.append(tx, organization, fact, cause=log.Cause(row.correlation_id, row.event_id, traceparent))
    return row


_SAME_ENDPOINT = (WebhookEndpoint.organization_id == Delivery.organization_id) & (
    WebhookEndpoint.id == Delivery.endpoint_id
)


def _delivery_and_endpoint(task: Task) -> Select[*tuple[Any, ...]]:
    return (
        select(
            Delivery.id,
            Delivery.event_id,
            Delivery.body,
            Delivery.endpoint_id,
            WebhookEndpoint.status.label("endpoint_status"),
            WebhookEndpoint.url,
            WebhookEndpoint.secret,
            WebhookEndpoint.previous_secret,
            WebhookEndpoint.previous_secret_until,
            WebhookEndpoint.failing_since,
            WebhookEndpoint.slow_since,
        )
        .join(WebhookEndpoint, _SAME_ENDPOINT)
        .where(Delivery.organization_id == task.organization_id, *_of_task(task))
    )


def _of_task(task: Any) -> tuple[Any, ...]:
    """A task has its delivery's endpoint as target, or, in a replay, the delivery itself as the event's subject."""
    if not task.target:
        return (Delivery.id == task.subject,)
    return Delivery.event_id == task.event_id, Delivery.endpoint_id == task.target


def active_secrets(secret: bytes, previous: bytes | None, until: datetime | None) -> tuple[bytes, ...]:
    """Encrypted; during a rotation the previous one too."""
    if previous is not None and until is not None and until > clock.machine():
        return secret, previous
    return (secret,)


async def _build(tx: Transaction, task: Task, row: Row[*tuple[Any, ...]], describe: Describe) -> bytes:
    """Whoever stores a body first has built it; a replay may come before the first try (of a disabled endpoint)."""
    if row.event_id == task.event_id:
        event, occurred_at = task.event, task.occurred_at
    else:
        query = select(EventRow.type, EventRow.subject, EventRow.data, EventRow.occurred_at)
        told = await tx.execute(
            query.where(EventRow.organization_id == task.organization_id, EventRow.id == row.event_id)
        )
        kind, subject, data, occurred_at = told.one()
        event = base.read(kind, subject, data)
    body = payloads.build(event, occurred_at, await describe(tx, event))
    stored = await tx.scalar(
        update(Delivery)
        .where(Delivery.organization_id == task.organization_id, Delivery.id == row.id)
        .values(body=func.coalesce(Delivery.body, body))
        .returning(Delivery.body)
    )
    return stored or body


def _outcome(plan: Plan, tried: Tried) -> Outcome:
    now, result = clock.machine(), tried.result
    match result.outcome:
        case transport.Outcome.DELIVERED | transport.Outcome.DISABLE:
            return Done(tried)
        case transport.Outcome.SNOOZE:
            return Snooze(now + _BUSY_PAUSE, result.error or "")
        case transport.Outcome.RETRY:
            reason = result.error or f"answered {result.status_code}"
            at = backoff.next_attempt(
                plan.tries + 1,
                now,
                delivery_id=plan.delivery_id,
                retry_after=result.retry_after,
                throttled=result.throttled,
            )
            return Retry(reason, at=at, result=tried, final=at is None)


def _due(task: Task) -> ScalarSelect[datetime]:
    """By the database's clock, which may not be this process's."""
    query = select(TaskRow.run_at).where(TaskRow.organization_id == task.organization_id, TaskRow.id == task.id)
    return query.scalar_subquery()


def _failed(code: str) -> dict[str, Any]:
    return {"status": "failed", "failure_code": code, "next_attempt_at": None}


async def _set(tx: Transaction, organization: str, delivery_id: str, **values: Any) -> None:
    named = (Delivery.organization_id == organization, Delivery.id == delivery_id)
    await tx.execute(update(Delivery).where(*named).values(**values))


async def _note(tx: Transaction, plan: Plan, tried: Tried, end: dict[str, Any]) -> bool:
    """In one statement. False when the delivery has been taken away meanwhile, with its endpoint."""
    delivery = (
        update(Delivery)
        .where(Delivery.organization_id == plan.organization_id, Delivery.id == plan.delivery_id)
        .values({"attempts": Delivery.attempts + 1, "failure_code": None} | end)
        .returning(Delivery.organization_id, Delivery.id)
        .cte("delivery")
    )
    attempt: dict[str, Any] = {
        "id": ids.new("att"),
        "started_at": tried.started_at,
        "duration_ms": tried.result.duration_ms,
        "status_code": tried.result.status_code,
        "error": tried.result.error,
        "response_body": tried.result.response_body,
    }
    table = DeliveryAttempt.__table__.c
    values = [literal(value, table[name].type).label(name) for name, value in attempt.items()]
    source = select(delivery.c.organization_id, delivery.c.id.label("delivery_id"), *values)
    done = await tx.execute(insert(DeliveryAttempt).from_select(["organization_id", "delivery_id", *attempt], source))
    return done.rowcount == 1


async def _judge_endpoint(tx: Transaction, plan: Plan, tried: Tried, cause: log.Cause, *, last: bool) -> None:
    """410 disables at once. Failing for days does too, but only at the end of a schedule: where events are rare, one
    bad moment must not be enough.
    """
    organization, endpoint_id, since = plan.organization_id, plan.endpoint_id, plan.failing_since
    if tried.result.outcome is transport.Outcome.DISABLE:
        await endpoints.disable(tx, organization, endpoint_id, reason="gone", cause=cause)
    elif tried.result.outcome is transport.Outcome.DELIVERED:
        if since is not None:
            await endpoints.mark_failing(tx, organization, endpoint_id, None)
        slow = lanes.is_slow(tried.result.duration_ms)
        if slow != (plan.slow_since is not None):
            await endpoints.mark_slow(tx, organization, endpoint_id, tried.started_at if slow else None)
    elif since is None:
        await endpoints.mark_failing(tx, organization, endpoint_id, tried.started_at)
    elif last and tried.started_at - since >= PATIENCE:
        await endpoints.disable(tx, organization, endpoint_id, reason="failing", cause=cause)

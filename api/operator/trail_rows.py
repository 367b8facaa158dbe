"""The rows of a trail. Every statement goes by a primary key or another index, so looking costs next to nothing."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, Select, func, select

from domain.accounts.models import OrganizationRow
from domain.api_keys.models import ApiKeyRow
from domain.events.models import EventRow, FeedEntry, PendingEvent, SetAsideEvent
from domain.generations import views
from domain.generations.models import AssetRow, GenerationRow
from domain.idempotency.models import IdempotencyKey
from domain.notifications.models import Notification
from domain.subscriptions.models import CreditEntry
from domain.tasks.models import TaskRow
from domain.webhooks.models import Delivery, DeliveryAttempt, WebhookEndpoint
from runtime.database import SystemTransaction

MOST: Final = 500
"""Rows of one kind that are looked at; more there are only after hundreds of replays."""
ANSWER_SHOWN: Final = 300
"""Characters of a receiver's answer."""

# An Idempotency-Key is written in the transaction of its generation, and that one waits for another request at most two
# seconds. The two times come from two machines' clocks.
_KEPT_BEFORE: Final = timedelta(seconds=2)
_KEPT_AFTER: Final = timedelta(seconds=5)

OneRow = Row[*tuple[Any, ...]]
Rows = Sequence[OneRow]


async def generation(tx: SystemTransaction, generation_id: str) -> OneRow | None:
    """Its organization is not known: each one's part of the primary key is asked."""
    here = GenerationRow.organization_id == OrganizationRow.organization_id
    image = (AssetRow.organization_id == GenerationRow.organization_id) & (AssetRow.generation_id == GenerationRow.id)
    query = (
        select(
            *views.COLUMNS,
            GenerationRow.organization_id,
            GenerationRow.price,
            OrganizationRow.name.label("organization_name"),
            AssetRow.created_at.label("asset_at"),
        )
        .select_from(OrganizationRow)
        .join(GenerationRow, here)
        .outerjoin(AssetRow, image)
        .where(GenerationRow.id == generation_id)
    )
    return (await tx.execute(query)).one_or_none()


async def events(tx: SystemTransaction, organization: str, subjects: Collection[str]) -> Rows:
    """Facts about the generation or its deliveries, each with its place in the feed, or what keeps it from one."""
    fed = (
        (FeedEntry.organization_id == EventRow.organization_id)
        & (FeedEntry.subject == EventRow.subject)
        & (FeedEntry.event_id == EventRow.id)
    )
    query = (
        select(
            EventRow.id,
            EventRow.type,
            EventRow.subject,
            EventRow.data,
            EventRow.traceparent,
            EventRow.occurred_at.label("at"),
            FeedEntry.position,
            PendingEvent.event_id.is_not(None).label("pending"),
            SetAsideEvent.error,
        )
        .outerjoin(FeedEntry, fed)
        .outerjoin(PendingEvent, PendingEvent.event_id == EventRow.id)
        .outerjoin(SetAsideEvent, SetAsideEvent.event_id == EventRow.id)
        .where(EventRow.organization_id == organization, EventRow.subject.in_(subjects))
        .order_by(EventRow.id)
    )
    return await _some(tx, query)


async def tasks(tx: SystemTransaction, event_ids: Collection[str]) -> Rows:
    columns = (
        TaskRow.id, TaskRow.event_id, TaskRow.actor, TaskRow.target, TaskRow.subject, TaskRow.queue, TaskRow.state,
        TaskRow.attempts, TaskRow.deaths, TaskRow.failures, TaskRow.run_at, TaskRow.started_at, TaskRow.ended_at,
        TaskRow.owner, TaskRow.created_at.label("at"),
    )  # fmt: skip
    return await _some(tx, select(*columns).where(TaskRow.event_id.in_(event_ids)).order_by(TaskRow.id))


async def charges(tx: SystemTransaction, organization: str, generation_id: str) -> Rows:
    query = (
        select(CreditEntry.id, CreditEntry.kind, CreditEntry.amount, CreditEntry.created_at.label("at"))
        .where(CreditEntry.organization_id == organization, CreditEntry.generation_id == generation_id)
        .order_by(CreditEntry.id)
    )
    return await _some(tx, query)


async def deliveries(tx: SystemTransaction, organization: str, event_ids: Collection[str]) -> Rows:
    same = (WebhookEndpoint.organization_id == Delivery.organization_id) & (WebhookEndpoint.id == Delivery.endpoint_id)
    query = (
        select(
            Delivery.id,
            Delivery.event_id,
            Delivery.event_type,
            Delivery.endpoint_id,
            WebhookEndpoint.url,
            WebhookEndpoint.disabled_reason,
            Delivery.status,
            Delivery.failure_code,
            Delivery.next_attempt_at,
            Delivery.delivered_at,
            Delivery.created_at.label("at"),
        )
        .join(WebhookEndpoint, same)
        .where(Delivery.organization_id == organization, Delivery.event_id.in_(event_ids))
        .order_by(Delivery.id)
    )
    return await _some(tx, query)


async def attempts(tx: SystemTransaction, organization: str, delivery_ids: Collection[str]) -> Rows:
    query = (
        select(
            DeliveryAttempt.id,
            DeliveryAttempt.delivery_id,
            DeliveryAttempt.duration_ms,
            DeliveryAttempt.status_code,
            DeliveryAttempt.error,
            func.left(DeliveryAttempt.response_body, ANSWER_SHOWN).label("answer"),
            DeliveryAttempt.started_at.label("at"),
        )
        .where(DeliveryAttempt.organization_id == organization, DeliveryAttempt.delivery_id.in_(delivery_ids))
        .order_by(DeliveryAttempt.id)
    )
    return await _some(tx, query)


async def mails(tx: SystemTransaction, organization: str, event_ids: Collection[str]) -> Rows:
    query = (
        select(
            Notification.id,
            Notification.event_id,
            Notification.kind,
            Notification.channel,
            Notification.recipient,
            Notification.status,
            Notification.error,
            Notification.sent_at,
            Notification.created_at.label("at"),
        )
        .where(Notification.organization_id == organization, Notification.event_id.in_(event_ids))
        .order_by(Notification.id)
    )
    return await _some(tx, query)


async def api_key(tx: SystemTransaction, organization: str, key_id: str) -> OneRow | None:
    query = select(ApiKeyRow.id, ApiKeyRow.name, ApiKeyRow.prefix)
    return (await tx.execute(query.where(ApiKeyRow.organization_id == organization, ApiKeyRow.id == key_id))).first()


async def idempotency_key(
    tx: SystemTransaction, organization: str, generation_id: str, accepted_at: datetime
) -> str | None:
    """The key does not name the generation, but the kept answer begins with its id."""
    begins = f'{{"id":"{generation_id}"'.encode()
    query = select(IdempotencyKey.key).where(
        IdempotencyKey.created_at.between(accepted_at - _KEPT_BEFORE, accepted_at + _KEPT_AFTER),
        IdempotencyKey.organization_id == organization,
        func.substr(IdempotencyKey.body, 1, len(begins)) == begins,
    )
    return await tx.scalar(query.limit(1))


async def _some(tx: SystemTransaction, query: Select[*tuple[Any, ...]]) -> Rows:
    return (await tx.execute(query.limit(MOST))).all()

"""What becomes of a deleted endpoint's rows. The request only marks the endpoint; the actor `webhooks.purge` takes away
its deliveries and their attempts, a batch at a time, each in a transaction of its own, and the endpoint last.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import delete, select

from domain.tasks.outcomes import Outcome, Snooze, Task
from domain.webhooks.endpoints import DELETED
from domain.webhooks.models import Delivery, DeliveryAttempt, WebhookEndpoint
from runtime import clock
from runtime.database import Transaction

BATCH: Final = 500
"""Deliveries that one transaction takes away."""
LINGER: Final = timedelta(minutes=10)
"""How long the endpoint's own row stays: a step of the relay that began before the deletion may still refer to it."""


class Rest(msgspec.Struct, frozen=True):
    """When to go on."""

    at: datetime


async def purge(tx: Transaction, task: Task) -> Rest | None:
    """One batch; None when nothing is left. What somebody else holds at the moment is left for the next."""
    organization, endpoint_id = task.organization_id, task.subject
    chosen = (
        select(Delivery.id)
        .where(Delivery.organization_id == organization, Delivery.endpoint_id == endpoint_id)
        .order_by(Delivery.id)
        .limit(BATCH)
    )
    ids = (await tx.scalars(chosen.with_for_update(skip_locked=True))).all()
    if ids:
        attempts = delete(DeliveryAttempt).where(DeliveryAttempt.organization_id == organization)
        await tx.execute(attempts.where(DeliveryAttempt.delivery_id.in_(ids)))
        await tx.execute(delete(Delivery).where(Delivery.organization_id == organization, Delivery.id.in_(ids)))
        return Rest(clock.machine())
    return await _remove_endpoint(tx, organization, endpoint_id, bool(await tx.scalar(chosen.limit(1))))


async def go_on(rest: Rest) -> Outcome:
    """Between two batches others have their turn."""
    return Snooze(rest.at, "more to take away")


async def _remove_endpoint(tx: Transaction, organization: str, endpoint_id: str, held: bool) -> Rest | None:
    named = (WebhookEndpoint.organization_id == organization, WebhookEndpoint.id == endpoint_id)
    deleted_at = await tx.scalar(select(WebhookEndpoint.updated_at).where(*named, WebhookEndpoint.status == DELETED))
    if deleted_at is None:
        return None
    now = clock.machine()
    if held:
        return Rest(now + timedelta(seconds=1))
    if now < deleted_at + LINGER:
        return Rest(deleted_at + LINGER)
    await tx.execute(delete(WebhookEndpoint).where(*named))
    return None

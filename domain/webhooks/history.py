"""What was sent, for the customer to look at."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, select, true

from domain import pages
from domain.webhooks.errors import DeliveryNotFound
from domain.webhooks.models import Delivery, DeliveryAttempt
from runtime.database import Reader

DeliveryStatus = Literal["pending", "delivered", "failed"]

_MOST_ATTEMPTS = 100
"""Of one delivery; more there are only after many replays."""


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """`event_id` is what the receiver gets as `webhook-id`. Attempts of replays count too.

    `failure_code`: endpoint_disabled, endpoint_deleted, endpoint_gone (it answered 410), attempts_exhausted or
    internal_error.
    """

    id: str
    event_id: str
    event_type: str
    endpoint_id: str
    status: DeliveryStatus
    failure_code: str | None
    attempt_count: int
    next_attempt_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP try. `status_code` is null, and `error` says why, where no answer came."""

    id: str
    started_at: datetime
    duration_ms: int
    status_code: int | None
    error: str | None
    response_body: str


class DeliveryDetail(DeliveryView, frozen=True, kw_only=True):
    """`body` is the text that is signed and sent; null before the first attempt. `attempts`: newest first."""

    body: str | None
    attempts: list[AttemptView]


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    endpoint_id: str | None = None
    event_id: str | None = None
    event_type: str | None = None
    status: DeliveryStatus | None = None


async def page(tx: Reader, organization: str, wanted: pages.PageRequest, only: Filter) -> pages.Page[DeliveryView]:
    """Newest first."""
    key: Any = Delivery.id
    mine = Delivery.organization_id == organization
    query, (first, *further) = select(*_DELIVERY).where(mine), _narrowed(only)
    if further:
        found = await pages.among(tx, query, key, wanted, led_by=(mine, first), fit=further)
    else:
        found = await pages.rows(tx, query.where(first), key, wanted)
    return pages.Page([_view(row) for row in found.items], found.last)


def _narrowed(only: Filter) -> list[ColumnElement[bool]]:
    """The first one has an index, and leads past the fewest others: most deliveries have arrived."""
    rare = only.status is not None and only.status != "delivered"
    order = ("event_id", "status", "endpoint_id") if rare else ("event_id", "endpoint_id", "status")
    named = [getattr(Delivery, name) == value for name in order if (value := getattr(only, name)) is not None]
    if only.event_type is not None:
        return [*(named or [true()]), Delivery.event_type == only.event_type]
    return named or [true()]


async def get(tx: Reader, organization: str, delivery_id: str) -> DeliveryDetail:
    """Raises DeliveryNotFound."""
    query = select(*_DELIVERY, Delivery.body).where(
        Delivery.organization_id == organization, Delivery.id == delivery_id
    )
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise DeliveryNotFound
    attempts = await tx.execute(
        select(*_ATTEMPT)
        .where(DeliveryAttempt.organization_id == organization, DeliveryAttempt.delivery_id == delivery_id)
        .order_by(DeliveryAttempt.id.desc())
        .limit(_MOST_ATTEMPTS)
    )
    return DeliveryDetail(
        **msgspec.structs.asdict(_view(row)),
        body=row.body.decode() if row.body else None,
        attempts=[msgspec.convert(attempt, AttemptView, from_attributes=True) for attempt in attempts],
    )


def _view(row: Any) -> DeliveryView:
    return msgspec.convert(row, DeliveryView, from_attributes=True)


_DELIVERY: tuple[Any, ...] = tuple(
    getattr(Delivery, "attempts" if field == "attempt_count" else field).label(field)
    for field in DeliveryView.__struct_fields__
)
_ATTEMPT: tuple[Any, ...] = tuple(getattr(DeliveryAttempt, field) for field in AttemptView.__struct_fields__)

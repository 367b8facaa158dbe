"""Endpoints, deliveries and attempts."""

from datetime import datetime

from sqlalchemy import (
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from runtime.orm import Base, CreatedAt, Id, IdKey, OrganizationKey


class WebhookEndpoint(Base):
    """Where a customer wants to hear of events. Secrets are encrypted (`runtime.encryption`) from the first row."""

    __tablename__ = "webhook_endpoints"

    organization_id: Mapped[OrganizationKey] = mapped_column(ForeignKey("organizations.organization_id"))
    id: Mapped[IdKey]
    url: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    event_types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """Empty: all of them."""
    status: Mapped[str] = mapped_column(server_default="enabled")
    """enabled, disabled or deleted: then it waits, without address and secret, for its deliveries to be taken away."""
    disabled_reason: Mapped[str | None]
    """caller, gone (it answered 410) or failing (nothing got through for days)."""
    failing_since: Mapped[datetime | None]
    """The first failed attempt after the last one that got through."""
    slow_since: Mapped[datetime | None]
    """An attempt took too long for the common lane, and none has been quicker since."""
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    previous_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_secret_until: Mapped[datetime | None]
    revision: Mapped[int] = mapped_column(Integer, server_default="1")
    """Counts changes; the ETag."""
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[CreatedAt]


class Delivery(Base):
    """One event for one endpoint. Its schedule and state are its task's; its body is built once and kept."""

    __tablename__ = "deliveries"

    organization_id: Mapped[OrganizationKey]
    id: Mapped[IdKey]
    event_id: Mapped[Id]
    event_type: Mapped[str]
    endpoint_id: Mapped[Id]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    status: Mapped[str] = mapped_column(server_default="pending")
    """pending, delivered, failed."""
    failure_code: Mapped[str | None]
    """Why it failed for good: endpoint_disabled, endpoint_deleted, endpoint_gone, attempts_exhausted or
    internal_error."""
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    next_attempt_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    delivered_at: Mapped[datetime | None]
    """When it last got through."""

    __table_args__ = (
        UniqueConstraint("organization_id", "event_id", "endpoint_id"),
        ForeignKeyConstraint(
            ["organization_id", "endpoint_id"],
            ["webhook_endpoints.organization_id", "webhook_endpoints.id"],
        ),
        Index(None, "organization_id", "endpoint_id", "id"),
        Index(None, "organization_id", "status", "id"),
    )


class DeliveryAttempt(Base):
    """One HTTP try."""

    __tablename__ = "delivery_attempts"

    organization_id: Mapped[OrganizationKey]
    id: Mapped[IdKey]
    delivery_id: Mapped[Id]
    started_at: Mapped[datetime]
    duration_ms: Mapped[int]
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    error: Mapped[str | None]
    response_body: Mapped[str] = mapped_column(server_default="")
    """The receiver's answer, cut at 16 KiB."""

    __table_args__ = (
        ForeignKeyConstraint(["organization_id", "delivery_id"], ["deliveries.organization_id", "deliveries.id"]),
        Index(None, "organization_id", "delivery_id", "id"),
    )

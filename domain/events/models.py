"""Tables of the event log. `pending_events` is the relay's inbox: rows are deleted, the log is never changed."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Sequence, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from runtime.orm import Base, CreatedAt, Id, IdKey, OrganizationId, OrganizationKey

FEED_POSITION = Sequence("feed_position", metadata=Base.metadata)


class EventRow(Base):
    """One fact. Immutable; holds ids, states and amounts, never prompts, inputs, addresses or texts."""

    __tablename__ = "events"

    organization_id: Mapped[OrganizationKey]
    id: Mapped[IdKey]
    type: Mapped[str]
    version: Mapped[int] = mapped_column(SmallInteger)
    subject: Mapped[Id]
    correlation_id: Mapped[Id]
    causation_id: Mapped[Id | None]
    traceparent: Mapped[str | None]
    data: Mapped[dict[str, Any]]
    occurred_at: Mapped[CreatedAt]

    __table_args__ = (Index(None, "organization_id", "subject"),)


class PendingEvent(Base):
    """An event that the relay has not expanded yet."""

    __tablename__ = "pending_events"

    event_id: Mapped[IdKey]
    organization_id: Mapped[OrganizationId]
    type: Mapped[str]


class FeedEntry(Base):
    """The order in which readers see events. Written by the leading relay alone, so that it has no late comers."""

    __tablename__ = "feed"

    organization_id: Mapped[OrganizationKey]
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Unique over all organizations. Who reads along all of them asks for `position + 0`: that index is of no use to
    who reads one's, so PostgreSQL can't choose to look for the few entries of one among everybody's.
    """
    event_id: Mapped[Id]
    type: Mapped[str]
    subject: Mapped[Id]

    __table_args__ = (
        Index("uq_feed_position", text("(position + 0)"), unique=True),
        Index(None, "organization_id", "subject", "position"),
    )


class FeedHorizon(Base):
    """How much of an organization's feed is not kept any more: who was told less has missed something."""

    __tablename__ = "feed_horizons"

    organization_id: Mapped[OrganizationKey]
    position: Mapped[int] = mapped_column(BigInteger)
    """The newest one that was deleted."""


class SetAsideEvent(Base):
    """An event whose expansion failed; it waits here for a person while the log goes on."""

    __tablename__ = "set_aside_events"

    event_id: Mapped[IdKey]
    organization_id: Mapped[OrganizationId]
    type: Mapped[str]
    error: Mapped[str]
    set_aside_at: Mapped[CreatedAt]


class ProductClock(Base):
    """One row: how far the product clock is ahead of the machine's (see `runtime.clock`)."""

    __tablename__ = "product_clock"

    id: Mapped[bool] = mapped_column(primary_key=True, server_default="true")
    offset_seconds: Mapped[int] = mapped_column(BigInteger, server_default="0")
    changed_at: Mapped[datetime | None]

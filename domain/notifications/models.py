"""What was said to people."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from runtime.orm import Base, CreatedAt, Id, IdKey, OrganizationKey


class Notification(Base):
    """One thing said to one person. Unique per event, channel and recipient, so that a retry is no second mail."""

    __tablename__ = "notifications"

    organization_id: Mapped[OrganizationKey]
    id: Mapped[IdKey]
    event_id: Mapped[Id]
    kind: Mapped[str]
    channel: Mapped[str]
    recipient: Mapped[str]
    subject: Mapped[Id]
    """The id of the thing spoken of."""
    status: Mapped[str] = mapped_column(server_default="pending")
    """pending, sent, refused."""
    error: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    sent_at: Mapped[datetime | None]

    __table_args__ = (UniqueConstraint("organization_id", "event_id", "channel", "recipient"),)

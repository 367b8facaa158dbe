"""What has been done by the clock."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from runtime.orm import Base, CreatedAt, Id


class ScheduleTick(Base):
    """One moment of one schedule: written once, together with the event that says so, whoever noticed it first."""

    __tablename__ = "schedule_ticks"

    schedule: Mapped[str] = mapped_column(primary_key=True)
    tick: Mapped[datetime] = mapped_column(primary_key=True)
    """By the schedule's own clock."""
    next_tick: Mapped[datetime]
    event_id: Mapped[Id | None]
    """Null: it was passed over."""
    noted_at: Mapped[CreatedAt]

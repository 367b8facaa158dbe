"""What is done with many dead letters at once."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Double, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from runtime.orm import Base, CreatedAt, IdKey, OrganizationKey

ACTIONS = ("replay", "discard")
STATUSES = ("running", "completed", "cancelled", "failed")
OUTCOMES = ("replayed", "discarded", "refused")


class BulkOperation(Base):
    """Belongs to org_system. It speaks of the letters that fitted its filter when it began, and of no later ones: what
    dies again is not replayed for ever.
    """

    __tablename__ = "bulk_operations"

    organization_id: Mapped[OrganizationKey]
    id: Mapped[IdKey]
    action: Mapped[str]
    filter: Mapped[dict[str, Any]]
    rate: Mapped[float] = mapped_column(Double)
    """Letters a second, at most."""
    reason: Mapped[str] = mapped_column(server_default="")
    by: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="running")
    matched: Mapped[int] = mapped_column(Integer)
    """How many there were when it began."""
    position: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """All letters up to this task have been decided."""
    created_at: Mapped[CreatedAt]
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(f"action in ({', '.join(map(repr, ACTIONS))})", name="action"),
        CheckConstraint(f"status in ({', '.join(map(repr, STATUSES))})", name="status"),
    )


class BulkDecision(Base):
    """What a bulk operation did with one letter; written in the transaction that did it, so that it does it once."""

    __tablename__ = "bulk_decisions"

    organization_id: Mapped[OrganizationKey]
    """The letter's."""
    operation_id: Mapped[IdKey]
    task_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    outcome: Mapped[str]
    code: Mapped[str | None]
    """Of the refusal."""
    decided_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint(f"outcome in ({', '.join(map(repr, OUTCOMES))})", name="outcome"),
        Index(None, "operation_id", "decided_at"),
    )

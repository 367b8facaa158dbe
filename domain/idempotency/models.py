"""Answers kept for requests that carried an Idempotency-Key."""

from sqlalchemy import Index, LargeBinary, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from runtime.orm import Base, CreatedAt, OrganizationKey


class IdempotencyKey(Base):
    """Written in the transaction of the effect. Only 2xx answers are kept: a refusal gives the key back."""

    __tablename__ = "idempotency_keys"

    organization_id: Mapped[OrganizationKey]
    scope: Mapped[str] = mapped_column(primary_key=True)
    """`environment METHOD route`."""
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int] = mapped_column(SmallInteger)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[CreatedAt]

    __table_args__ = (Index(None, "created_at"),)

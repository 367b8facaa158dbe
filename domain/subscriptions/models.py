"""Plans and the credit ledger."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    SmallInteger,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from runtime.orm import Base, CreatedAt, Id, IdKey, OrganizationKey


class Plan(Base):
    """The catalogue; the same for every organization, changed by migrations alone."""

    __tablename__ = "plans"

    id: Mapped[IdKey]
    name: Mapped[str]
    monthly_credits: Mapped[int]
    price_amount: Mapped[int]
    """Minor units of `price_currency` a month."""
    price_currency: Mapped[str]
    reuse_is_free: Mapped[bool] = mapped_column(Boolean)
    """Whether an image that was made before, and so is only handed out again, costs nothing."""
    weight: Mapped[int] = mapped_column(SmallInteger)
    """The share of busy workers that it gives, against other plans' weights."""
    images_at_once: Mapped[int]
    """How many images of an organization may be on their way to a worker and with one."""
    images_queued: Mapped[int]
    """How many images of an organization may wait."""


class CreditAccount(Base):
    """What an organization may still hold. Settling writes an entry and does not touch this row."""

    __tablename__ = "credit_accounts"

    organization_id: Mapped[OrganizationKey] = mapped_column(ForeignKey("organizations.organization_id"))
    available: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (CheckConstraint("available >= 0", name="available"),)


class CreditEntry(Base):
    """One movement of `amount` credits from one account to another: double entry, so every row balances by itself.

    grant: granted → available; hold: available → held; settle: held → spent; release: held → available.
    """

    __tablename__ = "credit_entries"

    organization_id: Mapped[OrganizationKey]
    id: Mapped[IdKey]
    kind: Mapped[str]
    from_account: Mapped[str]
    to_account: Mapped[str]
    amount: Mapped[int] = mapped_column(Integer)
    hold_id: Mapped[Id | None]
    """The hold that a settle or release ends (a hold's own id on the hold itself)."""
    generation_id: Mapped[Id | None]
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        CheckConstraint("amount >= 0", name="amount"),
        CheckConstraint(
            "(kind, from_account, to_account) in (('grant', 'granted', 'available'), ('hold', 'available', 'held'), "
            "('settle', 'held', 'spent'), ('release', 'held', 'available'))",
            name="accounts",
        ),
        ForeignKeyConstraint(["organization_id", "generation_id"], ["generations.organization_id", "generations.id"]),
        Index(
            "uq_credit_entries_hold_end",
            "organization_id",
            "hold_id",
            unique=True,
            postgresql_where=text("kind in ('settle', 'release')"),
        ),
        Index(None, "organization_id", "generation_id"),
    )

"""Generations and their assets."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from runtime.orm import Base, CreatedAt, Id, IdKey, OrganizationId, OrganizationKey

STATUSES = ("scheduled", "queued", "running", "succeeded", "failed", "cancelled")
OPEN = ("scheduled", "queued", "running")


class GenerationRow(Base):
    """One requested image job. `request` is what was asked for, as it came."""

    __tablename__ = "generations"

    organization_id: Mapped[OrganizationKey] = mapped_column(ForeignKey("organizations.organization_id"))
    id: Mapped[IdKey]
    status: Mapped[str]
    engine: Mapped[str]
    template: Mapped[str]
    request: Mapped[dict[str, Any]]
    """`input`, `output`, and `prompt` when it was a prompt alone."""
    project: Mapped[str | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'"))
    run_at: Mapped[datetime | None]
    price: Mapped[int]
    hold_id: Mapped[Id]
    reused: Mapped[bool] = mapped_column(server_default="false")
    charged: Mapped[int | None]
    """Credits settled; null until the end."""
    failure_code: Mapped[str | None]
    failure_detail: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(f"status in ({', '.join(repr(status) for status in STATUSES)})", name="status"),
        Index(None, "organization_id", "project", "id", postgresql_where=text("project is not null")),
        Index(None, "organization_id", "status", "id", postgresql_include=["price"]),
        Index("ix_generations_scheduled", "organization_id", "run_at", postgresql_where=text("status = 'scheduled'")),
    )


class AssetRow(Base):
    """One image delivered by one generation. Blobs (`storage_key`) may be shared inside an organization."""

    __tablename__ = "assets"

    organization_id: Mapped[OrganizationId] = mapped_column(primary_key=True)
    id: Mapped[IdKey]
    generation_id: Mapped[Id]
    identity: Mapped[str]
    """SHA-256 (hex) of everything that decides the image's bytes; finds an image that was made before."""
    storage_key: Mapped[str]
    sha256: Mapped[str]
    format: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[CreatedAt]

    __table_args__ = (
        ForeignKeyConstraint(["organization_id", "generation_id"], ["generations.organization_id", "generations.id"]),
        Index(None, "organization_id", "generation_id", unique=True),
        # B-trees of short numbers, as many rows may have the same: a hash index reads all of those to take one more.
        Index("ix_assets_identity_hash", text("hashtextextended(identity, 0::bigint)")),
        Index("ix_assets_storage_key_hash", text("hashtextextended(storage_key, 0::bigint)")),
    )

"""The append-only record of what people did to the installation."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from runtime.orm import Base, CreatedAt, Id, IdKey, OrganizationKey


class AuditEntry(Base):
    """Who did what to what. The roles of the processes may insert and read, never change or delete."""

    __tablename__ = "audit_entries"

    organization_id: Mapped[OrganizationKey]
    id: Mapped[IdKey]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[Id]
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[CreatedAt]

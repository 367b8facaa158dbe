"""API keys. Only a hash is kept: a key has 160 random bits, so a plain SHA-256 is enough (OWASP ASVS 6.5.2)."""

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from runtime.orm import Base, CreatedAt, IdKey, OrganizationKey


class ApiKeyRow(Base):
    __tablename__ = "api_keys"

    organization_id: Mapped[OrganizationKey] = mapped_column(ForeignKey("organizations.organization_id"))
    id: Mapped[IdKey]
    name: Mapped[str]
    prefix: Mapped[str]
    """The first characters, shown so that people can tell keys apart."""
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    environment: Mapped[str] = mapped_column(server_default="live")
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]

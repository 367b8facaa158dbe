"""Pictures that customers uploaded to use in templates."""

from sqlalchemy import BigInteger, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from runtime.orm import Base, CreatedAt, IdKey, OrganizationKey


class FileRow(Base):
    __tablename__ = "files"

    organization_id: Mapped[OrganizationKey] = mapped_column(ForeignKey("organizations.organization_id"))
    id: Mapped[IdKey]
    name: Mapped[str]
    content_type: Mapped[str]
    sha256: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int]
    height: Mapped[int]
    storage_key: Mapped[str]
    created_at: Mapped[CreatedAt]

    __table_args__ = (Index("ix_files_storage_key_hash", text("hashtextextended(storage_key, 0::bigint)")),)

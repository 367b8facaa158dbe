"""Organizations: the tenants."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from runtime.orm import Base, CreatedAt, OrganizationKey


class OrganizationRow(Base):
    """One tenant. Its key is called organization_id like everywhere else, so one policy fits every table."""

    __tablename__ = "organizations"

    organization_id: Mapped[OrganizationKey]
    name: Mapped[str]
    plan: Mapped[str] = mapped_column(ForeignKey("plans.id"))
    notify_email: Mapped[str | None]
    """Where 'your image is ready' goes; null: nobody is mailed."""
    created_at: Mapped[CreatedAt]

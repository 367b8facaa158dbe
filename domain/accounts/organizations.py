"""Organizations: made by the operator, read by everyone in them."""

import msgspec
from sqlalchemy import insert, select

from domain.accounts.errors import OrganizationNotFound
from domain.accounts.models import OrganizationRow
from runtime import ids
from runtime.database import Reader, SystemTransaction


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    plan: str
    notify_email: str | None


async def create(
    tx: SystemTransaction, name: str, *, plan: str = "free", notify_email: str | None = None
) -> Organization:
    """Without credits and keys: `credits.grant` and `keys.create` give those. An unknown plan is an IntegrityError."""
    organization = Organization(id=ids.new("org"), name=name, plan=plan, notify_email=notify_email)
    await tx.execute(
        insert(OrganizationRow).values(organization_id=organization.id, name=name, plan=plan, notify_email=notify_email)
    )
    return organization


async def get(tx: Reader | SystemTransaction, organization: str) -> Organization:
    """Raises OrganizationNotFound."""
    query = select(OrganizationRow).where(OrganizationRow.organization_id == organization)
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise OrganizationNotFound
    return Organization(id=row.organization_id, name=row.name, plan=row.plan, notify_email=row.notify_email)

import pytest

from domain.accounts import organizations
from domain.accounts.errors import OrganizationNotFound


async def test_an_organization_is_found_again(system, database):
    async with system.system_transaction() as tx:
        made = await organizations.create(tx, "Acme", plan="pro", notify_email="ada@acme.example")
    async with database.read_only(made.id) as tx:
        assert await organizations.get(tx, made.id) == made


async def test_an_organization_is_seen_by_nobody_else(system, database):
    async with system.system_transaction() as tx:
        made = await organizations.create(tx, "Acme")
        other = await organizations.create(tx, "Other")
    async with database.read_only(other.id) as tx:
        with pytest.raises(OrganizationNotFound):
            await organizations.get(tx, made.id)

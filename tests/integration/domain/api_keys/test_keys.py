"""Keys against the real database."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from domain import pages
from domain.api_keys import keys, scopes
from domain.api_keys.errors import KeyNotFound, ScopesTooWide, ScopeUnknown
from runtime import clock


async def test_a_key_leads_to_its_organization(organization, database):
    caller = await keys.find(database, keys.digest(organization.key))
    assert caller is not None
    assert (caller.organization_id, caller.key_id) == (organization.id, organization.key_id)
    assert caller.scopes == set(scopes.ALL)
    assert (caller.environment, caller.plan, caller.reuse_is_free) == ("live", "free", True)


async def test_the_database_keeps_the_hash_of_a_key_and_never_the_key(organization, system):
    async with system.system_transaction() as tx:
        row = (await tx.execute(text("select * from api_keys"))).one()
    assert row.digest == keys.digest(organization.key)
    secret = organization.key.removeprefix(row.prefix)
    assert secret not in str(row)


async def test_a_revoked_key_leads_nowhere_and_the_fact_is_in_the_log_once(organization, database, system):
    for _ in range(2):
        async with database.transaction(organization.id) as tx:
            revoked = await keys.revoke(tx, organization.id, organization.key_id)
    assert revoked.revoked_at is not None
    assert await keys.find(database, keys.digest(organization.key)) is None
    async with system.system_transaction() as tx:
        found = await tx.execute(text("select type from events order by id"))
    assert [row.type for row in found] == ["api_key.created", "api_key.revoked"]


async def test_a_key_of_another_organization_cannot_be_revoked(organization, make_organization, database):
    other = await make_organization()
    async with database.transaction(organization.id) as tx:
        with pytest.raises(KeyNotFound):
            await keys.revoke(tx, organization.id, other.key_id)
    assert await keys.find(database, keys.digest(other.key))


async def test_a_key_gives_no_scope_that_it_does_not_have(organization, database):
    async with database.transaction(organization.id) as tx:
        narrow = await keys.create(tx, organization.id, name="narrow", wanted=["keys:write"])
    giver = await keys.find(database, keys.digest(narrow.secret))
    async with database.transaction(organization.id) as tx:
        with pytest.raises(ScopesTooWide):
            await keys.create(tx, organization.id, name="wide", wanted=["generations:write"], giver=giver)


async def test_an_unknown_scope_is_named_by_its_place(organization, database):
    async with database.transaction(organization.id) as tx:
        with pytest.raises(ScopeUnknown) as refused:
            await keys.create(tx, organization.id, name="odd", wanted=["usage:read", "everything"])
    assert [field.pointer for field in refused.value.fields] == ["/scopes/1"]


async def test_keys_are_listed_page_by_page_newest_first(organization, database):
    async with database.transaction(organization.id) as tx:
        made = [(await keys.create(tx, organization.id, name=str(n), wanted=["usage:read"])).key.id for n in range(4)]
    async with database.read_only(organization.id) as tx:
        first = await keys.list_keys(tx, pages.PageRequest(limit=3))
        second = await keys.list_keys(tx, pages.PageRequest(limit=3, after=first.last))
    assert [key.id for key in first.items + second.items] == [*reversed(made), organization.key_id]
    assert second.last is None


async def test_the_last_use_is_noted_to_the_minute(organization, database):
    now = clock.machine()
    used = [(organization.id, organization.key_id)]
    await keys.touch(database, used, now)
    await keys.touch(database, used, now + timedelta(seconds=10))
    async with database.read_only(organization.id) as tx:
        page = await keys.list_keys(tx, pages.PageRequest())
    assert page.items[0].last_used_at == now

"""The audit trail: written with the deed, and never changed."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from domain.audit import log


async def test_an_entry_says_who_did_what_to_what(organization, database):
    async with database.transaction(organization.id) as tx:
        await log.write(tx, organization.id, "operator", "dead_letter.replayed", "17", actor="generations.render")
    async with database.read_only(organization.id) as tx:
        entry = (await tx.execute(text("select * from audit_entries"))).one()
    assert (entry.actor, entry.action, entry.subject) == ("operator", "dead_letter.replayed", "17")
    assert entry.details == {"actor": "generations.render"}


async def test_an_entry_goes_with_a_deed_that_was_undone(organization, database):
    async def fail() -> None:
        async with database.transaction(organization.id) as tx:
            await log.write(tx, organization.id, "operator", "dead_letter.replayed", "17")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with database.read_only(organization.id) as tx:
        assert await tx.scalar(text("select count(*) from audit_entries")) == 0


async def test_an_entry_about_another_organization_cannot_be_written(organization, make_organization, database):
    other = await make_organization()
    with pytest.raises(DBAPIError, match="row-level security"):
        async with database.transaction(organization.id) as tx:
            await log.write(tx, other.id, "operator", "dead_letter.replayed", "17")


@pytest.mark.parametrize("statement", ["update audit_entries set actor = 'nobody'", "delete from audit_entries"])
@pytest.mark.parametrize("as_system", [False, True])
async def test_nobody_changes_or_removes_an_entry(statement, as_system, organization, database, system):
    async with system.system_transaction() as tx:
        await log.write(tx, organization.id, "operator", "dead_letter.discarded", "17")
    opened = system.system_transaction() if as_system else database.transaction(organization.id)
    with pytest.raises(DBAPIError, match="permission denied"):
        async with opened as tx:
            await tx.execute(text(statement))

"""The credit ledger: double entry, ended once, never below zero."""

import asyncio
import json

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from domain.generations import lifecycle
from domain.subscriptions import credits
from domain.subscriptions.credits import Balance
from domain.subscriptions.errors import InsufficientCredits
from domain.tasks.outcomes import Done
from tests.integration.domain import ledger as ledgers


async def test_a_grant_makes_the_account_and_adds_to_it(ledger, system):
    async with system.system_transaction() as tx:
        await credits.grant(tx, ledger.organization, 50)
    assert await ledger.available() == 150
    assert await ledger.balance() == Balance(available=150, held=0, spent=0, granted=150)


async def test_what_is_held_is_not_available_and_what_is_settled_is_spent(ledger, database):
    kept, given_back = await ledger.running(), await ledger.generation()
    assert await ledger.balance() == Balance(available=98, held=2, spent=0, granted=100)
    async with database.transaction(ledger.organization) as tx:
        plan = await lifecycle.start(tx, kept)
        await lifecycle.finish(tx, kept, plan, Done(ledgers.image()))
        await lifecycle.cancel(tx, ledger.organization, given_back, by="tests", traceparent=None)
    assert await ledger.balance() == await ledger.by_entries() == Balance(available=99, held=0, spent=1, granted=100)
    assert await ledger.available() == 99


ENDED = (
    """insert into generations (organization_id, id, status, engine, template, request, price, hold_id)
       select :organization, new_id('gen'), 'succeeded', 'template', 'badge', '{"input": {}, "output": {}}', 1,
           new_id('ent') from generate_series(1, 100000)""",
    """insert into credit_entries (organization_id, id, kind, from_account, to_account, amount, hold_id, generation_id)
       select organization_id, hold_id, 'hold', 'available', 'held', 1, hold_id, id from generations""",
    """insert into credit_entries (organization_id, id, kind, from_account, to_account, amount, hold_id, generation_id)
       select organization_id, new_id('ent'), 'settle', 'held', 'spent', 1, hold_id, id from generations""",
    "update credit_accounts set available = 0 where organization_id = :organization",
)


async def test_a_balance_after_two_hundred_thousand_entries_reads_a_handful_of_rows(make_organization, ledger, system):
    old = await make_organization(grant=100_000)
    async with system.system_transaction() as tx:
        for statement in ENDED:
            await tx.execute(text(statement), {"organization": old.id})
        await credits.grant(tx, old.id, 10)
    await ledger.generation(of=old.id)
    async with ledger.database.read_only(old.id) as tx:
        assert await credits.balance(tx) == Balance(available=9, held=1, spent=100_000, granted=100_010)
        plan = await tx.scalar(text(f"explain (analyze, format json) {credits.BALANCE.text}"))
    read = list(_read(json.loads(plan) if isinstance(plan, str) else plan))
    assert sum(rows for _, rows in read) < 20, read
    assert {"generations", "credit_entries", "credit_accounts"} <= {table for table, _ in read}


def _read(plan):
    """Table and how many of its rows were touched, of each scan."""
    if isinstance(plan, list):
        for part in plan:
            yield from _read(part.get("Plan", part))
        return
    if "Relation Name" in plan:
        touched = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Heap Fetches", 0)
        yield plan["Relation Name"], touched
    yield from _read(plan.get("Plans", []))


@pytest.mark.parametrize("first", [credits.settle, credits.release])
@pytest.mark.parametrize("second", [credits.settle, credits.release])
async def test_a_hold_is_ended_once(first, second, ledger, database):
    generation_id = await ledger.generation()
    hold_id = await ledger.value("select hold_id from credit_entries where kind = 'hold'")
    ended = {"hold_id": hold_id, "generation_id": generation_id, "amount": 1}
    async with database.transaction(ledger.organization) as tx:
        assert await first(tx, ledger.organization, **ended)
    async with database.transaction(ledger.organization) as tx:
        assert not await second(tx, ledger.organization, **ended)
    assert await ledger.available() == (await ledger.by_entries()).available


async def test_a_hold_is_ended_once_by_those_who_try_at_the_same_time(ledger, database):
    generation_id = await ledger.generation()
    hold_id = await ledger.value("select hold_id from credit_entries where kind = 'hold'")

    async def end(how) -> bool:
        async with database.transaction(ledger.organization) as tx:
            return await how(tx, ledger.organization, hold_id=hold_id, generation_id=generation_id, amount=1)

    ended = await asyncio.gather(*(end(how) for how in (credits.settle, credits.release) * 2))
    assert sum(ended) == 1
    assert await ledger.available() == (await ledger.by_entries()).available


async def test_of_many_holds_at_once_no_more_are_given_than_there_are_credits(make_organization, database, ledger):
    poor = await make_organization(grant=3)
    generation_id = await ledger.generation(of=poor.id)

    async def hold() -> str:
        async with database.transaction(poor.id) as tx:
            return await credits.hold(tx, poor.id, generation_id, 1)

    given = await asyncio.gather(*(hold() for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(one, InsufficientCredits) for one in given) == 6
    assert await ledger.value("select available from credit_accounts where organization_id = :id", id=poor.id) == 0


async def test_the_database_itself_refuses_an_account_below_zero_and_an_entry_that_does_not_balance(ledger, system):
    with pytest.raises(IntegrityError, match="available"):
        async with system.system_transaction() as tx:
            await tx.execute(text("update credit_accounts set available = -1"))
    with pytest.raises(IntegrityError, match="accounts"):
        async with system.system_transaction() as tx:
            await tx.execute(
                text(
                    "insert into credit_entries (organization_id, id, kind, from_account, to_account, amount) "
                    "values (:organization, 'ent_x', 'settle', 'granted', 'available', 5)"
                ),
                {"organization": ledger.organization},
            )


@pytest.mark.parametrize("statement", ["update credit_entries set amount = 0", "delete from credit_entries"])
@pytest.mark.parametrize("as_system", [False, True])
async def test_an_entry_is_never_changed_by_nobody(statement, as_system, ledger, database, system):
    opened = system.system_transaction() if as_system else database.transaction(ledger.organization)
    with pytest.raises(DBAPIError, match="permission denied"):
        async with opened as tx:
            await tx.execute(text(statement))

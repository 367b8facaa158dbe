"""Pooled connections go from hand to hand; what one transaction set must be gone before the next begins."""

import asyncio
import itertools
import random
from collections.abc import Sequence

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from domain.accounts import organizations
from runtime import database, lending
from runtime.database import Database, SystemDatabase
from runtime.settings import Settings

ORGANIZATIONS, TRANSACTIONS, CONNECTIONS, AT_ONCE = 50, 2_000, 3, 20
OWNERS = text("select array_agg(organization_id::text) from organizations")
BROKEN = text("select 1 / 0")
ENDLESS = text("select pg_sleep(60)")


@pytest.fixture
async def many(system: SystemDatabase) -> Sequence[str]:
    async with system.system_transaction() as tx:
        return [(await organizations.create(tx, f"Number {number}")).id for number in range(ORGANIZATIONS)]


@pytest.fixture
async def narrow(settings: Settings) -> Database:
    return Database(settings.database_url, size=CONNECTIONS, name="test-narrow")


async def test_when_a_transaction_has_ended_its_connection_sees_nothing(many: Sequence[str], narrow: Database) -> None:
    for end in (narrow.transaction, narrow.read_only):
        async with end(many[0]) as tx:
            assert await tx.scalar(OWNERS) == [many[0]]
        async with narrow.engine.connect() as same:
            assert await same.scalar(OWNERS) is None
    with pytest.raises(DBAPIError):
        async with narrow.transaction(many[0]) as tx:
            await tx.execute(BROKEN)
    async with narrow.engine.connect() as same:
        assert await same.scalar(OWNERS) is None
    assert narrow.engine.pool.checkedin() == 1, "it was the same connection each time"  # type: ignore[attr-defined]
    await narrow.close()


async def test_a_call_that_sets_its_organization_itself_leaves_nothing_behind(
    many: Sequence[str], narrow: Database
) -> None:
    row = await narrow.call("select set_config('app.organization', $1, true)", many[0])
    assert row is not None
    async with narrow.engine.connect() as same:
        assert await same.scalar(OWNERS) is None
    await narrow.close()


async def test_connections_that_calls_keep_at_hand_are_there_for_transactions(
    many: Sequence[str], narrow: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "KEPT", 3600.0)
    await asyncio.gather(*(narrow.call("select pg_sleep(0.01)") for _ in range(CONNECTIONS)))
    assert narrow.engine.pool.checkedout() == CONNECTIONS  # type: ignore[attr-defined]
    async with narrow.transaction(many[0]) as first, narrow.read_only(many[1]) as second:
        assert await first.scalar(OWNERS) == [many[0]]
        assert await second.scalar(OWNERS) == [many[1]]
        third = asyncio.create_task(_alone(narrow, many[2]))
        assert await narrow.call("select 1") is not None
        assert await third == [many[2]]
    await narrow.close()
    assert narrow.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_who_waits_for_a_transaction_gets_the_connection_of_the_next_call_that_ends(
    many: Sequence[str], narrow: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "KEPT", 3600.0)
    calls = [asyncio.create_task(narrow.call("select pg_sleep(0.2)")) for _ in range(CONNECTIONS)]
    while narrow.engine.pool.checkedout() < CONNECTIONS:  # type: ignore[attr-defined]
        await asyncio.sleep(0.001)
    assert await _alone(narrow, many[0]) == [many[0]]
    await asyncio.gather(*calls)
    await narrow.close()


async def test_what_is_kept_at_hand_goes_back_when_nobody_wants_it(narrow: Database) -> None:
    await narrow.call("select 1")
    while narrow.engine.pool.checkedout():  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)
    await narrow.close()


async def test_a_connection_that_broke_while_it_was_kept_is_not_used_again(
    narrow: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "KEPT", 3600.0)
    row = await narrow.call("select pg_backend_pid()")
    assert row is not None
    narrow._lending._kept[0].connection.terminate()
    again = await narrow.call("select pg_backend_pid()")
    assert again is not None
    assert again[0] != row[0]
    await narrow.close()


async def test_calls_beyond_the_connections_there_are_go_on_as_soon_as_others_end(
    narrow: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "KEPT", 3600.0)
    async with asyncio.timeout(20):
        calls = [narrow.call("select pg_sleep(0.01)") for _ in range(20 * CONNECTIONS)]
        assert len(await asyncio.gather(*calls)) == 20 * CONNECTIONS
    await narrow.close()


async def test_calls_and_transactions_that_wait_for_each_other_all_come_to_their_end(
    many: Sequence[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "KEPT", 3600.0)
    single = Database(settings.database_url, size=1, name="test-narrow")
    async with asyncio.timeout(20):
        work = [single.call("select pg_sleep(0.002)") if n % 3 else _alone(single, many[n]) for n in range(30)]
        await asyncio.gather(*work)
    await single.close()
    assert single.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_a_call_that_gives_up_in_line_keeps_the_connection_from_nobody(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "KEPT", 3600.0)
    single = Database(settings.database_url, size=1, name="test-narrow")
    async with asyncio.timeout(20):
        busy = asyncio.create_task(single.call("select pg_sleep(0.1)"))
        await asyncio.sleep(0.02)
        gone = asyncio.create_task(single.call("select 1"))
        patient = asyncio.create_task(single.call("select 2"))
        await asyncio.sleep(0)
        busy.add_done_callback(lambda _: gone.cancel())  # about when it is handed the connection
        row = await patient
        assert row is not None
        assert row[0] == 2
        with pytest.raises(asyncio.CancelledError):
            await gone
    await single.close()


async def test_who_waits_in_line_for_too_long_is_told_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_PATIENCE", 0.1)
    single = Database(settings.database_url, size=1, name="test-narrow")
    busy = asyncio.create_task(single.call("select pg_sleep(1)"))
    await asyncio.sleep(0.05)
    with pytest.raises(PoolTimeout):
        await single.call("select 1")
    await busy
    await single.close()


async def test_a_call_that_fails_costs_no_place_in_the_pool(settings: Settings) -> None:
    single = Database(settings.database_url, size=1, name="test-narrow")
    for _ in range(3):
        with pytest.raises(asyncpg.PostgresError):
            await single.call("select 1 / 0")
    assert await single.call("select 1") is not None
    await single.close()


async def _alone(narrow: Database, organization: str) -> object:
    async with narrow.transaction(organization) as tx:
        return await tx.scalar(OWNERS)


async def test_fifty_organizations_on_three_connections_never_see_each_other(
    many: Sequence[str], narrow: Database
) -> None:
    """Some transactions fail, some are cancelled in a statement; the next one on the connection is another's."""
    order = random.Random(7)
    turns = iter([order.choice(many) for _ in range(TRANSACTIONS)])
    numbers = itertools.count(1)
    seen = 0

    async def one(organization: str, number: int) -> None:
        nonlocal seen
        async with asyncio.timeout(None) as limit, narrow.transaction(organization) as tx:
            assert await tx.scalar(OWNERS) == [organization]
            seen += 1
            if number % 100 == 0:
                limit.reschedule(asyncio.get_running_loop().time())
                await tx.execute(ENDLESS)
            if number % 10 == 0:
                await tx.execute(BROKEN)

    async def caller() -> None:
        for organization in turns:
            try:
                await one(organization, next(numbers))
            except (DBAPIError, TimeoutError):
                continue

    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    assert seen == TRANSACTIONS
    await narrow.close()

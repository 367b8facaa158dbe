"""The misbehaving network of the fault harness, before a real PostgreSQL and before the API."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from bench.faults import proxy
from bench.faults.proxy import Link
from runtime import database
from runtime.database import SystemDatabase
from runtime.settings import Settings
from tests.conftest import Servers
from tests.integration.conftest import OrganizationFactory, serving

TRIES = 20
BODY = {"template": "badge", "input": {"label": "ambushed"}}


@pytest.fixture
async def pool(through: Settings) -> AsyncIterator[SystemDatabase]:
    opened = SystemDatabase(through.database_system_url, size=2, name="ambushed")
    yield opened
    await opened.close()


@pytest.fixture
async def direct(servers: Servers, database_name: str) -> AsyncIterator[asyncpg.Connection]:
    """As the superuser, past the link, with a table and a function to write with."""
    connection = await asyncpg.connect(servers.database_url("postgres", database_name))
    await connection.execute("""
        create table marks (name text primary key);
        create function mark(p_name text) returns text language sql as
            $$ insert into marks values (p_name) returning name $$;
        grant all on marks to public;
    """)
    yield connection
    await connection.close()


async def test_what_was_committed_is_there_though_each_client_saw_an_error(
    link: Link, pool: SystemDatabase, direct: asyncpg.Connection
) -> None:
    swallowed: list[tuple[str, str]] = []
    link.ambush("ambushed", TRIES, lambda *what: swallowed.append(what))
    for number in range(0, TRIES, 2):
        with pytest.raises((OSError, asyncpg.PostgresConnectionError)):
            await pool.call("select mark($1)", str(number))
        with pytest.raises((DBAPIError, OSError)):
            async with pool.system_transaction() as tx:
                await tx.execute(text("insert into marks values (:name)"), {"name": str(number + 1)})
    assert await direct.fetchval("select count(*) from marks") == TRIES
    assert swallowed == [("ambushed", "mark"), ("ambushed", "insert into")] * (TRIES // 2)
    assert (await pool.call("select mark('after')"))[0] == "after"


async def test_an_ambush_lets_pass_whoever_only_reads_rolls_back_or_has_another_name(
    link: Link, through: Settings, pool: SystemDatabase, direct: asyncpg.Connection
) -> None:
    link.ambush("ambushed", 1, lambda *_: None)
    assert (await pool.call("select count(*) from marks"))[0] == 0
    with contextlib.suppress(ZeroDivisionError):
        async with pool.system_transaction() as tx:
            await tx.execute(text("select mark('undone')"))
            raise ZeroDivisionError
    other = await database.connect(through.database_system_url, name="another")
    assert await other.fetchval("select mark('passed')") == "passed"
    await other.close()
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.call("select mark('passed')")
    assert link.call_off("ambushed") == 1
    assert [row[0] for row in await direct.fetch("select name from marks")] == ["passed"]


async def test_an_accept_whose_commit_the_api_never_hears_of_is_answered_with_the_same_bytes(
    link: Link, through: Settings, direct: asyncpg.Connection, make_organization: OrganizationFactory
) -> None:
    organization = await make_organization(grant=1000)
    swallowed: list[tuple[str, str]] = []
    async with serving(through) as api:

        async def post(key: str) -> tuple[int, bytes]:
            headers: dict[str, Any] = {**organization.headers, "Idempotency-Key": key}
            async with api.client.post("/v1/generations", json=BODY, headers=headers) as answer:
                return answer.status, await answer.read()

        for number in range(TRIES):
            link.ambush("atelier-api", 1, lambda *what: swallowed.append(what))
            first, second = await post(str(number)), await post(str(number))
            assert first[0] == 202
            assert first == second
    assert len(swallowed) == TRIES
    assert await direct.fetchval("select count(*) from generations") == TRIES
    assert await direct.fetchval("select count(*) from credit_entries where kind = 'hold'") == TRIES


async def test_a_link_that_is_cut_or_refuses_ends_connections_and_goes_on_when_it_is_mended(
    link: Link, pool: SystemDatabase
) -> None:
    await pool.call("select 1")
    link.refuses = True
    link.cut()
    with pytest.raises((OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
        await pool.call("select 1")
    link.refuses = False
    assert (await pool.call("select 2"))[0] == 2


async def test_a_link_that_holds_everything_back_delivers_it_afterwards(link: Link, pool: SystemDatabase) -> None:
    await pool.call("select 1")
    link.hold(held=True)
    asking = asyncio.create_task(pool.call("select 2"))
    done, _ = await asyncio.wait([asking], timeout=0.2)
    assert not done
    link.hold(held=False)
    assert (await asking)[0] == 2


async def test_a_slow_link_delivers_all_of_it(link: Link, pool: SystemDatabase) -> None:
    await pool.call("select 1")
    link.rate, link.delay = 4000, 0.01
    assert (await pool.call("select repeat('x', 1000)"))[0] == "x" * 1000


@pytest.mark.parametrize("client", [True, False])
async def test_of_a_half_open_connection_one_end_is_told_and_the_other_waits(
    link: Link, through: Settings, direct: asyncpg.Connection, *, client: bool
) -> None:
    connection = await database.connect(through.database_system_url, name="half open")
    asking = asyncio.create_task(connection.execute("select pg_sleep(0.1)"))
    forsaking = asyncio.create_task(link.forsake(60, client=client))
    sessions = "select count(*) from pg_stat_activity where application_name = 'half open'"
    async with asyncio.timeout(30):
        if client:
            while await direct.fetchval(sessions):
                await asyncio.sleep(0.01)
            assert not asking.done()
        else:
            await asyncio.wait([asking])
            assert await direct.fetchval(sessions) == 1
    forsaking.cancel()
    link.cut()
    with pytest.raises((OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
        await asking
    connection.terminate()


async def test_an_answer_to_a_client_that_speaks_something_else_can_be_swallowed_too() -> None:
    taken: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(await reader.readline())
        writer.write(b"thanks\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        link = Link(proxy.over_tcp(server.sockets[0].getsockname()[1]))
        await link.open()
        link.ambush("", 1, lambda *_: None)
        answers = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
            writer.write(b"please\n")
            with contextlib.suppress(ConnectionError):
                answers.append(await reader.read())
            writer.close()
        await link.close()
    assert taken == [b"please\n"] * 2
    assert answers == [b"thanks\n"]

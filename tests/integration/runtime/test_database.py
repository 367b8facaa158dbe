"""The pools against a PostgreSQL that ends their connections."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from runtime import database
from runtime.database import SystemDatabase
from runtime.settings import Settings
from tests.conftest import Servers

TERMINATE = """
    select count(pg_terminate_backend(pid)) from pg_stat_activity
    where application_name = 'test-system' and datname = $1
"""


async def test_connections_that_the_server_has_closed_are_replaced_before_anybody_gets_them(
    system: SystemDatabase, servers: Servers, database_name: str
) -> None:
    await asyncio.gather(*(system.call("select pg_sleep(0.05)") for _ in range(5)))
    admin = await asyncpg.connect(servers.admin_url)
    try:
        assert await admin.fetchval(TERMINATE, database_name) == 5
    finally:
        await admin.close()
    await asyncio.sleep(0.2)
    assert [(await system.call("select 7"))[0] for _ in range(6)] == [7] * 6
    async with system.system_transaction() as tx:
        assert await tx.scalar(text("select 7")) == 7


async def test_sessions_have_bounds_on_what_they_hold(system: SystemDatabase, settings: Settings) -> None:
    asked = "select current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')"
    assert tuple(await system.call(asked)) == ("5s", "10s")
    connection = await database.connect(settings.database_system_url, name="test-idle", idle_seconds=0.1)
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    async with asyncio.timeout(5):
        await ended.wait()


def test_a_session_over_tcp_is_given_up_soon_after_its_client_is_lost() -> None:
    over_tcp = database.session_settings(make_url("postgresql://a@db.example/x"), "test", flush=True)
    assert over_tcp["tcp_user_timeout"] == "10000"
    assert over_tcp["tcp_keepalives_idle"] == "5"
    by_socket = database.session_settings(make_url("postgresql://a@/x?host=/run/postgresql"), "test", flush=True)
    assert not [name for name in by_socket if name.startswith("tcp_")]


async def test_an_error_of_the_database_does_not_show_the_parameters(system: SystemDatabase) -> None:
    with pytest.raises(DBAPIError) as raised:
        async with system.system_transaction() as tx:
            await tx.execute(text("select 1 / (length(:said) - 6)"), {"said": "canary"})
    assert "canary" not in str(raised.value)

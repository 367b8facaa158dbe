"""The pools against a PostgreSQL that ends their connections."""

import asyncio

import asyncpg
from sqlalchemy import text

from runtime.database import SystemDatabase
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

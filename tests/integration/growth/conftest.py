"""A database with a history behind it, and PostgreSQL's own counts of what is read in it: `explain` does not see what
functions do, and most of the spine is functions.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import asyncpg
import msgspec
import pytest
from sqlalchemy import text

from bench.growth import history
from bench.growth.history import History
from migrations import roles
from runtime import clock, ids
from runtime import database as runtime_database
from runtime.database import Database, SystemDatabase
from runtime.settings import Settings
from tests.conftest import TEMPLATE, Servers

GROWN: Final = "atelier_grown"
ROWS: Final = 20_000
AGE: Final = timedelta(days=20)
"""Of nearly everything."""
EARLY_AGE: Final = timedelta(days=25)
"""Of a few that differ from the others; whoever looks for them must not pass all of these."""
EARLY: Final = 60


class Grown(msgspec.Struct, frozen=True):
    """Two organizations, each with an endpoint and half of the history."""

    organizations: list[str]
    endpoints: list[str]


@pytest.fixture(scope="session")
def grown(servers: Servers) -> Grown:
    """What the database `atelier_grown` has, which is to be copied."""
    with asyncio.Runner() as runner:
        return runner.run(_grow(servers))


async def _grow(servers: Servers) -> Grown:
    made = Grown([ids.new("org"), ids.new("org")], [ids.new("whe"), ids.new("whe")])
    admin = await asyncpg.connect(servers.admin_url)
    await admin.execute(f"create database {GROWN} template {TEMPLATE} owner {roles.OWNER} strategy file_copy")
    await admin.close()
    connection = await asyncpg.connect(servers.database_url("postgres", GROWN))
    for organization, endpoint in zip(made.organizations, made.endpoints, strict=True):
        for statement in _ORGANIZATION:
            await connection.execute(statement, organization)
        await connection.execute(_ENDPOINT, organization, endpoint)
    common = History(organizations=made.organizations, endpoints=made.endpoints, rows=ROWS, at=clock.machine() - AGE)
    rare = {"status": "failed", "delivery_status": "failed", "event_type": "file.deleted", "project": "early"}
    early = msgspec.structs.replace(common, rows=EARLY, at=clock.machine() - EARLY_AGE, **rare)
    for table in history.TABLES:
        await history.write(connection, early, table)
        await history.write(connection, common, table)
    await connection.execute("vacuum analyze")
    await connection.close()
    return made


_ORGANIZATION: Final = (
    "insert into organizations (organization_id, name, plan) values ($1, 'Acme', 'scale')",
    "insert into credit_accounts (organization_id, available) values ($1, 1000)",
)
_ENDPOINT: Final = """
    insert into webhook_endpoints (organization_id, id, url, event_types, secret)
    values ($1, $2, 'https://customer.example/', '{}', 'x')"""
_numbers = itertools.count()


@pytest.fixture(params=["custom", "generic"])
async def database_name(request: pytest.FixtureRequest, admin: asyncpg.Connection, grown: Grown) -> AsyncIterator[str]:
    """With plans for the values of each call; and with one for any, which PostgreSQL may choose after some calls."""
    name = f"grown_{next(_numbers)}"
    await admin.execute(f"create database {name} template {GROWN} owner {roles.OWNER} strategy file_copy")
    await admin.execute(f"alter database {name} set plan_cache_mode = force_{request.param}_plan")
    yield name
    await admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """One connection of each role, so that what it has read can be counted."""
    return msgspec.structs.replace(settings, database_pool_size=1)


@dataclass
class Watch:
    """Counts what is read of the tables that grow."""

    database: Database
    system: SystemDatabase
    connection: asyncpg.Connection
    """The relay's."""

    async def reads(self, doing: Awaitable[Any]) -> dict[str, int]:
        """Of each table the rows, or index entries, or pages that were read, whichever are most; 10**9 when it was
        read from end to end.
        """
        before = await self._counts()
        await doing
        found = {}
        for table, after in (await self._counts()).items():
            scans, *counts = [now - then for now, then in zip(after, before[table], strict=True)]
            found[table] = 10**9 if scans else max(counts)
        return found

    async def _counts(self) -> dict[str, tuple[int, ...]]:
        for pool in (self.database, self.system):
            await pool.call(_FLUSH)
        await self.connection.execute(_FLUSH)
        async with self.system.system_transaction() as tx:
            return {row[0]: tuple(row[1:]) for row in await tx.execute(_COUNTS, {"tables": [*history.TABLES, "files"]})}


_FLUSH = "select pg_stat_force_next_flush()"
_COUNTS = text("""
    select t.relname, t.seq_scan, coalesce(t.idx_tup_fetch, 0), coalesce(i.entries, 0),
        io.heap_blks_read + io.heap_blks_hit, coalesce(io.idx_blks_read + io.idx_blks_hit, 0)
    from pg_stat_user_tables t
    join pg_statio_user_tables io using (relid)
    left join (select relid, sum(idx_tup_read)::bigint as entries from pg_stat_user_indexes group by relid) i
        using (relid)
    where t.relname = any (:tables)
""")


@pytest.fixture
async def watch(settings: Settings, database: Database, system: SystemDatabase) -> AsyncIterator[Watch]:
    connection = await runtime_database.connect(settings.database_system_url, name="test-relay")
    yield Watch(database, system, connection)
    await connection.close()

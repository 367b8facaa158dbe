"""Databases of a server of their own, each with organizations and a history of some length behind them."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec

from bench.growth import history
from bench.growth.history import History
from bench.telling import Tell
from domain.accounts import organizations
from domain.subscriptions import credits
from migrations import roles, upgrade
from runtime import clock, ids
from runtime.database import SystemDatabase
from runtime.services import EmbeddedServices
from runtime.settings import Secret

ORGANIZATIONS: Final = 50
CREDIT: Final = 10_000_000
AGE: Final = timedelta(days=20)
FILLED: Final = ("generations", "credit_entries", "assets", "events", "feed", "tasks", "deliveries")
"""The others are small (keys are kept for three days), or nothing of the hot path reads them."""
AT_ONCE: Final = 2


class Filled(msgspec.Struct, frozen=True):
    """`urls` by role. `rows`: of each table."""

    rows: int
    organizations: Sequence[str]
    urls: dict[str, Secret]


async def prepare(services: EmbeddedServices) -> None:
    """Without a log of what is written into a new file, a history is written twice as fast; commits cost the same."""
    admin = await asyncpg.connect(services.endpoints.postgres_admin_url)
    await admin.execute("alter system set wal_level = minimal")
    await admin.execute("alter system set max_wal_senders = 0")
    await admin.close()
    await services.stop()
    await services.start()


async def make(services: EmbeddedServices, name: str, rows: int, tell: Tell) -> Filled:
    """A database of this release with the history written into it."""
    admin_url = services.endpoints.postgres_admin_url
    urls = {role: _url(admin_url, role, name) for role in (roles.OWNER, roles.APP, roles.SYSTEM, "postgres")}
    await roles.create(admin_url, owner_url=urls[roles.OWNER], app_url=urls[roles.APP], system_url=urls[roles.SYSTEM])
    await asyncio.to_thread(upgrade.upgrade, urls[roles.OWNER])
    made = Filled(rows, await _organizations(urls[roles.SYSTEM]), urls)
    await _fill(made, tell)
    return made


async def warm(made: Filled) -> None:
    """Reads the indexes of what is random, which an installation at work has in memory: to fill the other tables has
    driven them out of it.
    """
    admin = await asyncpg.connect(made.urls["postgres"])
    await admin.execute(_READ, timeout=600)
    await admin.close()


async def _organizations(url: str) -> list[str]:
    system = SystemDatabase(url, size=1, name="atelier-bench")
    made = []
    for number in range(ORGANIZATIONS):
        async with system.system_transaction() as tx:
            made.append((await organizations.create(tx, f"Tenant {number}", plan="scale", notify_email=None)).id)
            await credits.grant(tx, made[-1], CREDIT)
    await system.close()
    return made


async def _fill(made: Filled, tell: Tell) -> None:
    """Tables first, then their indexes: foreign keys are taken away and put back, unchecked, as the rows fit."""
    admin = await asyncpg.connect(made.urls["postgres"])
    endpoints = [ids.new("whe") for _ in made.organizations]
    await admin.executemany(_ENDPOINT, list(zip(made.organizations, endpoints, strict=True)))
    foreign_keys = await admin.fetch(_FOREIGN_KEYS)
    for key in foreign_keys:
        await admin.execute(f"alter table {key['owner']} drop constraint {key['conname']}")
    written = History(organizations=made.organizations, endpoints=endpoints, rows=made.rows, at=clock.machine() - AGE)
    gate = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(_fill_table(made, written, table, gate, tell) for table in FILLED))
    for key in foreign_keys:
        await admin.execute(f"alter table {key['owner']} add constraint {key['conname']} {key['definition']} not valid")
    await admin.execute("checkpoint")
    await admin.close()


async def _fill_table(made: Filled, written: History, table: str, gate: asyncio.Semaphore, tell: Tell) -> None:
    async with gate:
        connection = await asyncpg.connect(made.urls["postgres"], command_timeout=3600)
        await connection.execute("set maintenance_work_mem = '1GB'")
        async with connection.transaction():
            await connection.execute(f"truncate {table}")
            await connection.execute(_WITHOUT_INDEXES, table)
            await history.write(connection, written, table)
        tell(f"{table}: {made.rows:,} rows")
        await connection.execute(f"reindex table {table}")
        await connection.execute(f"vacuum (analyze, freeze) {table}")
        tell(f"{table}: its indexes")
        await connection.close()


def _url(admin_url: str, role: str, name: str) -> Secret:
    return Secret(urlunsplit(urlsplit(admin_url)._replace(netloc=f"{role}@", path=f"/{name}")))


_ENDPOINT: Final = """
    insert into webhook_endpoints (organization_id, id, url, event_types, secret, status)
    values ($1, $2, 'https://customer.example/', '{}', 'x', 'disabled')"""
_FOREIGN_KEYS: Final = """
    select conrelid::regclass::text as owner, conname, pg_get_constraintdef(oid) as definition
    from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace"""
_WITHOUT_INDEXES: Final = """
    update pg_index set indisready = false, indisvalid = false where indrelid = $1::text::regclass"""
"""`reindex` makes them whole."""
_READ: Final = """
    select length(pg_read_binary_file(pg_relation_filepath(c.oid), 0, least(pg_relation_size(c.oid), 1000000000), true))
    from pg_class c where c.relkind = 'i' and c.relname like 'ix\\_%\\_hash'"""

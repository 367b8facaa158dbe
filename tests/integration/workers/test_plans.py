"""Tables are empty when an installation begins, and full a minute later. A session keeps the plans that it made first,
so they must read by key however things were then; `tests/integration/growth` asks the same of plans for full tables.
"""

from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import Any, Final

import asyncpg
import msgspec
import pytest

from bench.growth import history
from bench.growth.history import History
from domain.generations import batches, lifecycle
from domain.tasks import claims
from domain.tasks.outcomes import Task
from runtime import clock, ids
from runtime import database as runtime_database
from runtime.settings import Settings
from tests.conftest import Servers
from workers import relay

ROWS: Final = 3_000
FEW: Final = 250
LEASE: Final = timedelta(seconds=30)
_MADE: Final = (
    "insert into organizations (organization_id, name, plan) values ($1, 'Acme', 'scale')",
    "insert into credit_accounts (organization_id, available) values ($1, 1000)",
)
_BACKLOG: Final = """
    insert into tasks (organization_id, event_id, actor, target, subject, queue)
    select organization_id, id, $1, 'later', subject, 'images' from events on conflict do nothing
"""
_ANNOUNCE: Final = """
    insert into pending_events (event_id, organization_id, type)
    select id, organization_id, type from events order by id desc limit 5
"""
_READ: Final = """
    select coalesce(sum(idx_tup_fetch), 0)::bigint, coalesce(sum(seq_tup_read), 0)::bigint
    from pg_stat_xact_user_tables where relname = any ($1)
"""


class Session:
    """As a relay or a worker has it: it plans once."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def call_many(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        return list(await self.connection.fetch(statement, *arguments))

    async def reads(self, doing: Awaitable[Any]) -> int:
        """Rows of the tables that grow which were read, by whatever index."""
        before = await self.connection.fetchrow(_READ, list(history.TABLES))
        await doing
        after = await self.connection.fetchrow(_READ, list(history.TABLES))
        return int(sum(after) - sum(before))


_OPEN = """
    update generations g set status = 'queued' from tasks t
    where t.state = 'ready' and (g.organization_id, g.id) = (t.organization_id, t.subject)
"""
"""The generations of the backlog: claims begin them."""
_ENDED = "update generations set status = 'failed' where status = 'running'"
"""So that a record finds its tasks alone."""


@pytest.fixture
async def session(settings: Settings) -> AsyncIterator[Session]:
    connection = await runtime_database.connect(settings.database_system_url, name="test-relay", flush=False)
    yield Session(connection)
    await connection.close()


@pytest.fixture
async def superuser(servers: Servers, database_name: str) -> AsyncIterator[asyncpg.Connection]:
    """May write a history for any organization."""
    connection = await asyncpg.connect(str(servers.database_url("postgres", database_name)))
    yield connection
    await connection.close()


async def test_plans_of_empty_tables_read_few_rows_of_full_ones(
    session: Session, superuser: asyncpg.Connection, settings: Settings
) -> None:
    async def step() -> None:
        sent.append(relay.read_step(await session.connection.fetchrow(relay.STEP, *relay.arguments(settings))))

    async def claim(tasks: list[int]) -> None:
        claim = claims.claim(
            session,  # type: ignore[arg-type]
            tasks,
            actors=[lifecycle.RENDER],
            owner="a test",
            lease=LEASE,
            function=batches.CLAIM,
        )
        claimed.extend(await claim)

    async def look(organization: str) -> None:
        await session.call_many("select * from find_images($1, $2)", [organization] * 5, ["not made yet"] * 5)
        await session.call_many("select * from unreferenced_objects($1, $2)", organization, ["of nothing"] * 5)
        await session.call_many("select * from load_deliveries($1, $2, $2)", ["org_1"] * 5, ["of nobody"] * 5)
        await session.call_many("select * from keep_bodies($1, $2, $3)", ["org_1"], ["of nobody"], [b"{}"])

    async def begin_and_record() -> None:
        organizations, subjects = [task.organization_id for task in claimed], [task.subject for task in claimed]
        await session.call_many("select * from start_generations($1, $2)", organizations, subjects)
        half = len(claimed) // 2
        for function, some in (("record_images", claimed[:half]), ("record_deliveries", claimed[half:])):
            await session.call_many(f"select * from {function}($1::jsonb)", msgspec.json.encode(results(some)).decode())
        claimed.clear()

    def results(tasks: list[Task]) -> list[dict[str, object]]:
        """Of images and deliveries that have ended already."""
        return [
            {
                "task": task.id,
                "token": task.lease_token,
                "organization": task.organization_id,
                "generation": task.subject,
                "delivery": "of nobody",
            }
            for task in tasks
        ]

    sent: list[relay.Step] = []
    claimed: list[Task] = []
    await superuser.execute("analyze")
    organization = await _fill(superuser, rows=2)
    await step()
    await claim(sent[-1].messages[0].tasks)
    await look(organization)
    await begin_and_record()
    organization = await _fill(superuser, rows=ROWS)
    await superuser.execute(_OPEN)
    async with session.connection.transaction():
        assert await session.reads(step()) < FEW
        assert sent[-1].expanded == 5
        assert await session.reads(claim(sent[-1].messages[0].tasks)) < FEW
        assert await session.reads(look(organization)) < FEW
        assert any(task.begun for task in claimed)
        await session.connection.execute(_ENDED)
        assert await session.reads(begin_and_record()) < FEW


async def _fill(superuser: asyncpg.Connection, *, rows: int) -> str:
    """One of two organizations that have half of the rows each."""
    two = [ids.new("org"), ids.new("org")]
    made = History(organizations=two, endpoints=["whe_1", "whe_2"], rows=rows, at=clock.machine())
    for organization in made.organizations:
        for statement in _MADE:
            await superuser.execute(statement, organization)
    for table in history.TABLES:
        await history.write(superuser, made, table)
    await superuser.execute(_BACKLOG, lifecycle.RENDER)
    await superuser.execute(_ANNOUNCE)
    return two[0]

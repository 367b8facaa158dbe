"""Looking at the ledger while everything around it is being killed: by SQL, over one connection that comes back."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import asyncpg

from cli import invariants
from runtime import database

_FAULTS = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
)
"""What says that the server is gone, and nothing that says that a statement is wrong."""
_HOLDS = "select exists(select from tasks where state = 'running' and owner like '%/' || $1::text || '/%')"
_HELD = "select id, lease_token from tasks where state = 'running' and owner like '%/' || $1::text || '/%'"
_TOKENS = "select id, lease_token from tasks where id = any($1) and state = 'running'"
_RENDER = "select state, owner from tasks where subject = $1 and actor = 'generations.render' order by id desc limit 1"
_OPEN = """
    select (select count(*) from pending_events)
         + (select count(*) from tasks where state in ('ready', 'dispatched', 'running'))
"""
_HASTEN = "update tasks set run_at = now() where state = 'ready' and run_at > now()"


class Render(NamedTuple):
    state: str
    pid: int
    """Of the process that claimed it last; 0 when none did."""


class Database:
    """As atelier_system. A query waits until PostgreSQL is there again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        self._drop()

    async def query(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._turn:
            while True:
                try:
                    if self._connection is None:
                        self._connection = await database.connect(self._url, name="atelier-faults")
                    rows: list[asyncpg.Record] = await self._connection.fetch(statement, *arguments)
                except _FAULTS:
                    self._drop()
                    await asyncio.sleep(0.05)
                except asyncio.CancelledError:  # the answer is still on its way; nobody else shall get it
                    self._drop()
                    raise
                else:
                    return rows

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def holds_tasks(self, pid: int) -> bool:
        return bool((await self.query(_HOLDS, str(pid)))[0][0])

    async def held_by(self, pid: int) -> dict[int, int]:
        """The tasks that the process holds, with the tokens of its leases."""
        return {row[0]: row[1] for row in await self.query(_HELD, str(pid))}

    async def tokens(self, tasks: Iterable[int]) -> dict[int, int]:
        """Of those that somebody holds."""
        return {row[0]: row[1] for row in await self.query(_TOKENS, list(tasks))}

    async def render_of(self, generation: str) -> Render | None:
        """None: its event has not become a task yet."""
        rows = await self.query(_RENDER, generation)
        return Render(rows[0]["state"], int((rows[0]["owner"] or "/0/").split("/")[1])) if rows else None

    async def open_work(self) -> int:
        """Events and tasks that are not at their end."""
        return int((await self.query(_OPEN))[0][0])

    async def hasten(self) -> None:
        """Lets no next try be waited for: a receiver that failed twice is asked again after minutes."""
        await self.query(_HASTEN)


async def until(condition: Callable[[], Awaitable[Any]], *, every: float) -> None:
    while not await condition():
        await asyncio.sleep(every)


async def watch_balances(observed: Database, found: set[str]) -> None:
    """Until cancelled: in any one snapshot, whatever is going on, balances are the sums of their entries."""
    while True:
        found.update(row[0] for row in await observed.query(invariants.BALANCE.sql))
        await asyncio.sleep(1)

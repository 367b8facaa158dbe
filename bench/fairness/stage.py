"""An installation of its own for each part, customers of each plan, and a look into the ledger."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg

from bench import load, own, parts, telling, tenants
from bench.load import Generator, Sent
from bench.telling import Tell
from bench.tenants import Hook, Tenant
from cli import installation
from cli.installation import Installation
from runtime import database
from runtime.settings import Settings

CREDIT: Final = 10_000_000
CONNECTIONS: Final = 16
PATIENCE: Final = 120.0


class Stage:
    """`ledger` is a connection as atelier_system."""

    def __init__(self, running: Installation, ledger: asyncpg.Connection, tell: Tell) -> None:
        self.running = running
        self.ledger = ledger
        self.tell = tell

    async def customers(self, plan: str, count: int = 1, hooks: Sequence[Hook] = ()) -> list[Tenant]:
        return await tenants.make(self.running, count, hooks, credit=CREDIT, plan=plan)

    async def post(self, wanted: Mapping[Tenant, int]) -> Sent:
        """So many requests of each, mixed, as fast as the API takes them."""
        unit = max(1, min(wanted.values()))
        keys = [tenant.api_key for tenant, count in wanted.items() for _ in range(round(count / unit))]
        return await self.generator(keys).closed(CONNECTIONS, total=unit * len(keys))

    def generator(self, keys: Sequence[str]) -> Generator:
        return Generator(self.running.contract.base_url, load.requests(keys))

    def without_image_workers(self) -> contextlib.AbstractContextManager[None]:
        return self.frozen("worker-images")

    def frozen(self, *names: str) -> contextlib.AbstractContextManager[None]:
        """These processes stand still, and go on at once afterwards."""
        return parts.frozen([self.running.pids()[name] for name in names])

    async def rows(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        found: list[asyncpg.Record] = await self.ledger.fetch(statement, *arguments)
        return found

    async def value(self, statement: str, *arguments: object) -> Any:
        return await self.ledger.fetchval(statement, *arguments)


@contextlib.asynccontextmanager
async def opened(settings: Settings, tell: Tell, **more: object) -> AsyncIterator[Stage]:
    async with contextlib.AsyncExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="atelier-bench-")))
        wanted = own.settings(settings, folder, **more)
        running = await cleanup.enter_async_context(installation.running(wanted, telling.silent))
        ledger = await database.connect(running.settings.database_system_url, name="atelier-bench")
        cleanup.push_async_callback(ledger.close)
        yield Stage(running, ledger, tell)


async def until(condition: Callable[[], Awaitable[object]], *, every: float = 0.1, seconds: float = PATIENCE) -> float:
    """Seconds until it was so. Raises TimeoutError."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(every)
    return time.monotonic() - began


def p99(values: Sequence[float]) -> float:
    """Milliseconds, of seconds."""
    return load.percentile(sorted(values), 0.99)

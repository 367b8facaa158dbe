"""Organizations with credits and a key of their own, and the API as it is served."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import pytest

from api import server
from api.dependencies import Resources
from bench.faults.proxy import Link
from domain.accounts import organizations
from domain.api_keys import keys, scopes
from domain.subscriptions import credits
from runtime.database import Database, SystemDatabase
from runtime.settings import Settings
from tests.conftest import Servers
from tests.integration import links


@dataclass(frozen=True)
class Organization:
    """`key` is an API key with every scope."""

    id: str
    key: str
    key_id: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


OrganizationFactory = Callable[..., Awaitable[Organization]]


@pytest.fixture
def make_organization(database: Database, system: SystemDatabase) -> OrganizationFactory:
    """`make_organization(plan="free", grant=100, wanted=scopes.ALL, notify_email=None)`."""

    async def make(
        *,
        name: str = "Acme",
        plan: str = "free",
        grant: int = 100,
        wanted: tuple[str, ...] = scopes.ALL,
        notify_email: str | None = None,
    ) -> Organization:
        async with system.system_transaction() as tx:
            organization = await organizations.create(tx, name, plan=plan, notify_email=notify_email)
            await credits.grant(tx, organization.id, grant)
        async with database.transaction(organization.id) as tx:
            new = await keys.create(tx, organization.id, name="tests", wanted=wanted)
        return Organization(organization.id, new.secret, new.key.id)

    return make


@pytest.fixture
async def organization(make_organization: OrganizationFactory) -> Organization:
    return await make_organization()


@dataclass(frozen=True)
class Api:
    """The API and the operator's port on real sockets; `client` sends to the first unless it is given a whole URL."""

    url: str
    operator_url: str
    client: aiohttp.ClientSession
    resources: Resources


@contextlib.asynccontextmanager
async def serving(settings: Settings, **changed: Any) -> AsyncIterator[Api]:
    """In the test's own event loop. `changed` are fields of Resources."""
    public, operator = server.bind(settings.host, 0), server.bind(settings.host, 0)
    url, operator_url = (f"http://{settings.host}:{each.getsockname()[1]}" for each in (public, operator))
    stopping = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        resources = await stack.enter_async_context(
            server.open_resources(msgspec.structs.replace(settings, public_url=url))
        )
        resources = dataclasses.replace(resources, **changed)
        served = asyncio.create_task(server.serve_on(public, operator, resources, stopping))
        client = await stack.enter_async_context(aiohttp.ClientSession(url))
        try:
            await _until_it_answers(client, served)
            yield Api(url, operator_url, client, resources)
        finally:
            await client.close()
            stopping.set()
            await served


async def _until_it_answers(client: aiohttp.ClientSession, served: asyncio.Task[None]) -> None:
    """The socket listens before the server does: the first request waits in the queue."""
    first = asyncio.create_task(client.get("/health/live"))
    await asyncio.wait([first, served], return_when=asyncio.FIRST_COMPLETED)
    if served.done():
        first.cancel()
        served.result()
    (await first).release()


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with serving(settings) as running:
        yield running


@pytest.fixture
async def link(servers: Servers) -> AsyncIterator[Link]:
    """To PostgreSQL; `through` leads over it."""
    async with links.to_postgresql(servers) as opened:
        yield opened


@pytest.fixture
def through(settings: Settings, database_name: str, link: Link) -> Settings:
    return links.through(link, settings, database_name)

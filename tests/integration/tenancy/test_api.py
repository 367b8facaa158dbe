"""Every operation of the API, asked by one organization while its queries have lost their filters: nothing of another
organization is shown or changed.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import asyncpg
import msgspec
import pytest
from sqlalchemy import insert, select

from api import server
from domain.webhooks.models import Delivery
from runtime.database import SystemDatabase
from runtime.orm import ORGANIZATION
from runtime.settings import Settings
from tests.integration.conftest import Organization, OrganizationFactory
from tests.integration.tenancy import filters, rows
from tests.integration.tenancy.filters import Stripped
from tests.integration.tenancy.rows import TENANT_TABLES

Rows = dict[str, dict[str, Any]]

NAMED: Final = {
    "delivery_id": "deliveries",
    "endpoint_id": "webhook_endpoints",
    "file_id": "files",
    "generation_id": "generations",
    "key_id": "api_keys",
}
"""Which table's id a parameter of a path is. An operation with another one must be thought about, and named here."""

SHARED: Final = ("/v1/templates/", "/assets/", "/health", "/docs", "/openapi")
"""What belongs to everybody, or to whoever holds a signed address."""

PATIENCE: Final = 0.5
"""Seconds for which a stream that does not end is listened to."""


@dataclass
class Api:
    session: aiohttp.ClientSession
    operations: list[tuple[str, str]]
    ours: Rows
    theirs: Rows
    secrets_of_theirs: list[str]
    stripped: Stripped

    def of(self, *methods: str, named: bool | None = None) -> list[tuple[str, str]]:
        return [
            (method, path)
            for method, path in self.operations
            if method in methods and (named is None or ("{" in path) == named)
        ]

    async def ask(self, method: str, path: str, whose: Rows) -> tuple[int, str]:
        """Status and text; of a stream, what came of it within some time."""
        ids = {parameter: whose[table]["id"] for parameter, table in NAMED.items()}
        body = {} if method in {"post", "patch", "put"} else None
        async with self.session.request(method, path.format(**ids), json=body) as answer:
            text = b""
            try:
                async with asyncio.timeout(PATIENCE if path.endswith("/stream") else None):
                    async for chunk in answer.content.iter_any():
                        text += chunk
            except TimeoutError:
                pass
            return answer.status, text.decode()

    def shows(self, text: str) -> list[str]:
        """What of theirs is in it."""
        return [secret for secret in self.secrets_of_theirs if secret in text]


@pytest.fixture
async def api(settings: Settings, system: SystemDatabase, make_organization: OrganizationFactory) -> AsyncIterator[Api]:
    ours, theirs = await make_organization(plan="scale"), await make_organization(plan="scale")
    async with system.system_transaction() as tx:
        written = [await _fill(tx, organization) for organization in (ours, theirs)]
    public, operator, stopping = server.bind("127.0.0.1", 0), server.bind("127.0.0.1", 0), asyncio.Event()
    base = f"http://127.0.0.1:{public.getsockname()[1]}"
    async with server.open_resources(settings) as resources:
        serving = asyncio.create_task(server.serve_on(public, operator, resources, stopping))
        with filters.stripped(resources.database.engine) as stripped:
            async with aiohttp.ClientSession(base, headers=ours.headers) as session:
                operations = await _operations(session)
                yield Api(session, operations, *written, _secrets(theirs, written[1]), stripped)
        stopping.set()
        await serving


async def _fill(tx: Any, organization: Organization) -> Rows:
    """One more delivery, which is over, so that it may be replayed."""
    written = await rows.fill(tx, organization.id)
    await tx.execute(insert(Delivery).values(rows.make(TENANT_TABLES["deliveries"], organization.id, written)))
    return written


def _secrets(theirs: Organization, written: Rows) -> list[str]:
    """Every text that only they can know: ids, names, addresses."""
    texts = {value for row in written.values() for value in row.values() if isinstance(value, str) and "_01" in value}
    return [theirs.id, theirs.key_id, *sorted(texts)]


async def _operations(session: aiohttp.ClientSession) -> list[tuple[str, str]]:
    async with session.get("/openapi.json") as answer:
        described = msgspec.json.decode(await answer.read())["paths"]
    return [
        (method, path)
        for path, methods in described.items()
        if not path.startswith(SHARED)
        for method in methods
        if method in {"get", "post", "put", "patch", "delete"}
    ]


async def _snapshot(system: SystemDatabase, organization: str) -> dict[str, list[str]]:
    async with system.system_transaction() as tx:
        return {
            name: sorted(
                str(row) for row in await tx.execute(select(table).where(table.columns[ORGANIZATION] == organization))
            )
            for name, table in TENANT_TABLES.items()
        }


async def test_lists_and_streams_show_nothing_of_others(api: Api) -> None:
    for method, path in api.of("get", named=False):
        status, text = await api.ask(method, path, api.ours)
        assert (status, api.shows(text)) == (200, []), path
    assert api.stripped.filters, "there were filters to be forgotten"


async def test_without_row_level_security_they_would(api: Api, settings: Settings) -> None:
    """So the test above can see what it looks for."""
    owner = await asyncpg.connect(settings.database_owner_url)
    for name in TENANT_TABLES:
        await owner.execute(f"alter table {name} disable row level security")
    await owner.close()
    for path in ("/v1/generations", "/v1/events", "/v1/api-keys", "/v1/webhook-endpoints", "/v1/deliveries"):
        assert api.shows((await api.ask("get", path, api.ours))[1]), path


async def test_ones_own_things_are_shown(api: Api) -> None:
    for method, path in api.of("get", named=True):
        status, text = await api.ask(method, path, api.ours)
        assert (status, api.shows(text)) == (200, []), path
        assert text


async def test_things_of_others_are_not_there(api: Api, system: SystemDatabase) -> None:
    before = await _snapshot(system, api.theirs["organizations"][ORGANIZATION])
    for method, path in api.of("get", "post", "put", "patch", "delete", named=True):
        status, text = await api.ask(method, path, api.theirs)
        assert status == 404, (method, path, text)
        body = text.replace(path, "")
        assert api.shows(body) == [], (method, path)
    assert await _snapshot(system, api.theirs["organizations"][ORGANIZATION]) == before
    assert api.stripped.filters, "there were filters to be forgotten"


async def test_what_one_deletes_or_changes_is_ones_own(api: Api, system: SystemDatabase) -> None:
    theirs = api.theirs["organizations"][ORGANIZATION]
    before = await _snapshot(system, theirs)
    for method, path in sorted(
        api.of("post", "put", "patch", "delete", named=True), key=lambda one: one[0] == "delete"
    ):
        status, text = await api.ask(method, path, api.ours)
        assert status < 500, (method, path, text)
        assert status != 404, (method, path)
        assert api.shows(text) == [], (method, path)
    assert await _snapshot(system, theirs) == before

"""The operator's port of a whole installation: requests come in by HTTP, the spine's clockwork makes of them what a
test wants, and the pages show it.
"""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from sqlalchemy import event, text

from domain.generations import lifecycle
from domain.webhooks import endpoints
from domain.webhooks.endpoints import Draft
from runtime import database as runtime_database
from runtime.settings import Settings
from tests.integration.conftest import Api
from tests.integration.courier import reaching_this_machine, receiver
from tests.integration.workers.conftest import Spine, spine

__all__ = ["receiver", "spine"]

RENDER = lifecycle.RENDER
BADGE = {"template": "badge", "input": {"label": "A1"}}
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"

# Those that grow with use. What is looked up in them must be found by an index.
GROWING = (
    "assets", "credit_entries", "deliveries", "delivery_attempts", "events", "feed", "generations",
    "idempotency_keys", "notifications", "tasks",
)  # fmt: skip


@dataclass
class Operator:
    """Who looks, and the installation that is looked at."""

    api: Api
    spine: Spine

    @property
    def token(self) -> str:
        return str(self.api.resources.settings.operator_token)

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    async def ask(self, path: str, *, redirect: bool = True, **headers: str) -> tuple[aiohttp.ClientResponse, str]:
        """As a browser, with no token of its own."""
        url = self.api.operator_url + path
        sent = {"accept": BROWSER} | headers
        async with aiohttp.request("GET", url, headers=sent, allow_redirects=redirect) as answer:
            return answer, await answer.text()

    async def page(self, path: str) -> str:
        answer, body = await self.ask(path, **self.bearer)
        assert answer.status == 200, body
        return body

    async def trail(self, generation_id: str) -> Any:
        url = f"{self.api.operator_url}/trail/{generation_id}.json"
        async with self.api.client.get(url, headers=self.bearer) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def call(self, method: str, path: str, body: object = None, *, status: int = 200, **headers: str) -> Any:
        """The operators' API, with the token."""
        url = self.api.operator_url + path
        async with self.api.client.request(method, url, json=body, headers=self.bearer | headers) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json(content_type=None)

    async def post(self, body: object = BADGE, **headers: str) -> str:
        """Id of a generation that was asked for over HTTP."""
        sent = self.spine.organization.headers | headers
        async with self.api.client.post("/v1/generations", json=body, headers=sent) as answer:
            accepted = await answer.json()
            assert answer.status == 202, accepted
            return str(accepted["id"])

    async def endpoint(self, url: str) -> str:
        organization, tools = self.spine.organization.id, self.spine.tools
        async with self.spine.database.transaction(organization) as tx:
            made = await endpoints.create(
                tx, organization, Draft(url=url), keyring=tools.keyring, settings=self.spine.settings
            )
        return made.endpoint.id

    async def change(self, statement: str, **values: Any) -> None:
        async with self.spine.system.system_transaction() as tx:
            await tx.execute(text(statement), values)

    async def due(self) -> None:
        """What waits for its next try is tried now."""
        await self.change("update tasks set run_at = now() where state = 'ready'")
        await self.spine.drain()

    @contextmanager
    def statements(self) -> Iterator[list[tuple[str, Any]]]:
        """What the pages ask PostgreSQL meanwhile, with its parameters."""
        seen: list[tuple[str, Any]] = []

        def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, ____: bool) -> None:
            seen.append((statement, parameters))

        system = self.api.resources.system
        assert system is not None
        event.listen(system.engine.sync_engine, "before_cursor_execute", note)
        yield seen
        event.remove(system.engine.sync_engine, "before_cursor_execute", note)

    async def scans(self, statements: list[tuple[str, Any]]) -> list[str]:
        """Growing tables that a statement would read from end to end."""
        found = []
        async with self.spine.system.system_transaction() as tx:
            for statement, parameters in statements:
                if statement.lower().startswith(("select", "with")):
                    plan = (await tx.exec_driver_sql(f"explain {statement}", parameters)).scalars().all()
                    read = re.findall(r"Seq Scan on (\w+)", "\n".join(plan))
                    found += [f"{table}: {statement}" for table in read if table in GROWING]
        return found

    async def fill(self, rows: int) -> None:
        """So much of everything that PostgreSQL would rather use an index, if it only can."""
        organization = self.spine.organization.id
        endpoint = await self.endpoint("http://127.0.0.1:9000/")
        for statement in _FILL:
            await self.change(
                f"{statement} on conflict do nothing", organization=organization, endpoint=endpoint, rows=rows
            )
        owner = await runtime_database.connect(self.spine.settings.database_owner_url, name="test-owner")
        await owner.execute("analyze")
        await owner.close()


def words(page: str) -> str:
    """What a person reads, in one line."""
    visible = re.sub(r"<(style|title)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", visible)).split())


def rows(page: str) -> list[str]:
    """What a person reads in each row of the page's tables."""
    return [words(row) for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL)]


_FILL = (
    """insert into generations (organization_id, id, status, engine, template, request, price, hold_id, created_at)
       select :organization, new_id('gen'), 'succeeded', 'template', 'badge', '{"input": {}, "output": {}}', 1,
           new_id('ent'), now() - n * interval '1 minute' from generate_series(1, :rows) n""",
    """insert into credit_entries (organization_id, id, kind, from_account, to_account, amount, hold_id, generation_id)
       select organization_id, hold_id, 'hold', 'available', 'held', 1, hold_id, id from generations""",
    """insert into assets (organization_id, id, generation_id, identity, storage_key, sha256, format, width, height,
           bytes)
       select organization_id, new_id('ast'), id, id, id, id, 'png', 1, 1, 1 from generations""",
    """insert into events (organization_id, id, type, version, subject, correlation_id, data)
       select organization_id, new_id('evt'), 'generation.accepted', 1, id, id, '{}' from generations""",
    """insert into feed (position, organization_id, event_id, type, subject)
       select nextval('feed_position'), organization_id, id, type, subject from events""",
    """insert into tasks (organization_id, event_id, actor, subject, queue, state, ended_at)
       select organization_id, id, 'generations.render', subject, 'images', 'done', now() from events""",
    """insert into deliveries (organization_id, id, event_id, event_type, endpoint_id)
       select organization_id, new_id('dlv'), id, type, :endpoint from events""",
    """insert into delivery_attempts (organization_id, id, delivery_id, started_at, duration_ms)
       select organization_id, new_id('att'), id, now(), 1 from deliveries""",
    """insert into notifications (organization_id, id, event_id, kind, channel, recipient, subject)
       select organization_id, new_id('ntf'), id, 'image_ready', 'email', 'a@b.example', subject from events""",
    """insert into idempotency_keys (organization_id, scope, key, fingerprint, status, body, created_at)
       select organization_id, 'live POST /v1/generations', id, '', 202, convert_to(id, 'UTF8'), created_at
       from generations""",
)  # fmt: skip


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return reaching_this_machine(settings)


@pytest.fixture
def operator(spine: Spine, api: Api) -> Operator:
    return Operator(api, spine)

"""A customer of a running installation: asks for images, hears of them by webhook, and looks into the books."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
import msgspec
from standardwebhooks import Webhook

from cli import invariants
from runtime import database
from tests import http_server
from tests.e2e.running import Up
from tests.http_server import HttpServer

_labels = itertools.count()
_DONE = """
    select (select count(*) from generations where id = any ($1) and status = 'succeeded') = cardinality($1)
        and not exists(select from tasks where subject = any ($1) and state <> 'done')
        and not exists(
            select from pending_events p join events e on (e.organization_id, e.id) = (p.organization_id, p.event_id)
            where e.subject = any ($1))
"""
_OPEN = """
    select id, subject, actor, state, attempts, deaths, failures, now() - run_at as due from tasks
    where subject = any ($1) and state <> 'done' limit 5
"""
_TROUBLED = "select actor, failures from tasks where subject = any ($1) and (attempts > 0 or deaths > 0)"


@dataclass
class Customer:
    """`books` is a connection as atelier_system. `webhooks` is the endpoint's server."""

    session: aiohttp.ClientSession
    books: asyncpg.Connection
    webhooks: HttpServer
    secret: str

    async def post(self, session: aiohttp.ClientSession | None = None, **headers: str) -> str:
        """Id of a new generation, a badge like no other."""
        body = {"template": "badge", "input": {"label": f"N{next(_labels)}"}}
        async with (session or self.session).post("/v1/generations", json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == 202, text
            return str(msgspec.json.decode(text)["id"])

    async def post_many(self, count: int) -> list[str]:
        return list(await asyncio.gather(*(self.post() for _ in range(count))))

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        async with self.session.request(method, path, **options) as answer:
            text = await answer.text()
            assert answer.status < 300, text
            return msgspec.json.decode(text) if text else None

    async def wait_until_running(self, ids: Sequence[str]) -> None:
        """Until a worker has begun with one of them."""
        async with asyncio.timeout(20):
            while not await self.books.fetchval(
                "select exists(select from tasks where subject = any ($1) and state = 'running')", list(ids)
            ):
                await asyncio.sleep(0.002)

    async def wait_until_done(self, ids: Sequence[str], seconds: float = 60) -> None:
        """Until each has its image, and all that follows from it has been done."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await self.books.fetchval(_DONE, list(ids)):
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError([dict(row) for row in await self.books.fetch(_OPEN, list(ids))])
            await asyncio.sleep(0.02)

    async def troubled(self, ids: Sequence[str]) -> list[str]:
        """What went wrong with their tasks: tries that failed, workers that died."""
        return [f"{row['actor']}: {row['failures']}" for row in await self.books.fetch(_TROUBLED, list(ids))]

    async def check(self, ids: Sequence[str]) -> None:
        """Nothing lost, nothing doubled, and each was told of under one id, signed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                while await invariants.breaches(self.books):
                    await asyncio.sleep(0.05)
        assert await invariants.breaches(self.books) == []
        told: dict[str, set[str]] = {}
        for request in list(self.webhooks.requests):
            event: Any = Webhook(self.secret).verify(request.body, request.headers)
            if event["type"] == "generation.succeeded":
                told.setdefault(event["data"]["id"], set()).add(request.headers["webhook-id"])
        assert {generation: len(told.get(generation, ())) for generation in ids} == dict.fromkeys(ids, 1)


@contextlib.asynccontextmanager
async def of(up: Up) -> AsyncIterator[Customer]:
    contract = up.contract
    books = await database.connect(contract.database_url, name="test-books")
    try:
        async with http_server.serve() as webhooks, _session(up) as session:
            customer = Customer(session, books, webhooks, "")
            made = await customer.ask("POST", "/v1/webhook-endpoints", json={"url": f"{webhooks.url}/hook"})
            customer.secret = made["secret"]
            yield customer
            await customer.ask("DELETE", f"/v1/webhook-endpoints/{made['id']}")
    finally:
        await books.close()


def _session(up: Up, connector: aiohttp.BaseConnector | None = None) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {up.contract.api_key}"}
    patience = aiohttp.ClientTimeout(total=30)
    return aiohttp.ClientSession(up.contract.base_url, headers=headers, timeout=patience, connector=connector)


def session_of_new_connections(up: Up) -> aiohttp.ClientSession:
    """Each request comes on a connection of its own."""
    return _session(up, aiohttp.TCPConnector(force_close=True))

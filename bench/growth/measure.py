"""What a single step costs in two databases, turn by turn, so that whatever else the machine does hits both alike."""

import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import timedelta
from typing import Final, TypeVar

import asyncpg

from bench.growth.database import Filled
from domain.events import feed
from domain.generations import acceptance, batches, lifecycle, reading
from domain.generations.acceptance import Request
from domain.generations.reading import Filter
from domain.generations.results import Image
from domain.pages import PageRequest
from domain.tasks import claims
from domain.tasks.outcomes import Done
from domain.webhooks import history
from migrations import roles
from queue_config import queues
from queue_config.stub_broker import StubBroker
from runtime import database as connections
from runtime import ids
from runtime.database import Database, SystemDatabase
from runtime.settings import Settings
from storage.addresses import ObjectUrls
from workers import carrying_on, relay

Result = TypeVar("Result")

WANTED: Final = acceptance.check(Request(template="badge", input={"label": "A1"}))
SETTINGS: Final = Settings()
LEASE: Final = timedelta(seconds=60)
URLS: Final = ObjectUrls(base="http://localhost/assets", secrets=("no-secret",), ttl=LEASE)


class Side:
    """One of the two. `seconds`: of each step, in the order in which they were measured."""

    def __init__(self, filled: Filled, connection: asyncpg.Connection) -> None:
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._organizations = filled.organizations
        self._database = Database(filled.urls[roles.APP], size=1, name="atelier-bench")
        self._system = SystemDatabase(filled.urls[roles.SYSTEM], size=1, name="atelier-bench", flush=False)
        self._relay = connection
        self._step = relay.arguments(SETTINGS)
        self._onward = carrying_on.to_webhooks(StubBroker(queues.QUEUES))
        self._to_images = carrying_on.to_images(StubBroker(queues.QUEUES))

    async def close(self) -> None:
        await self._database.close()
        await self._system.close()

    async def turn(self, number: int) -> None:
        """One generation from its request to its end, and what somebody looks at meanwhile."""
        organization = self._organizations[number % len(self._organizations)]
        sent = await self._accept(organization, straight=number % 2 == 1)
        row = await self._timed("relay step", self._relay.fetchrow(relay.STEP, *self._step))
        ready = [*sent, *(task for sending in relay.read_step(row).messages for task in sending.tasks)]
        claim = claims.claim(
            self._system, ready, actors=[lifecycle.RENDER], owner="bench", lease=LEASE, function=batches.CLAIM
        )
        tasks = await self._timed("claim and start", claim)
        plans = await self._timed("look for the image", batches.start(self._system, tasks, settings=SETTINGS))
        ended = [(task, plan, Done(result=_image())) for task, plan in zip(tasks, plans, strict=True) if plan]
        await self._timed("record", batches.record(self._system, ended, carry_on=self._onward))
        await self._relay.fetchrow(relay.STEP, *self._step)
        await self._look(organization)

    async def _accept(self, organization: str, *, straight: bool) -> list[int]:
        """Tasks that are with a worker now; by the relay's way there are none yet."""
        draft = acceptance.draft(WANTED, key=None, traceparent=None)
        if not straight:
            await self._timed("accept", acceptance.accept_draft(self._database, organization, draft))
            return []
        accept = acceptance.accept_and_dispatch(self._database, organization, draft, self._to_images)
        accepted = await self._timed("accept, straight to a worker", accept)
        return [] if accepted.task is None else [accepted.task]

    async def _look(self, organization: str) -> None:
        async with self._database.read_only(organization) as tx:
            page = reading.page(tx, Filter(), PageRequest(), urls=URLS)
            await self._timed("list of generations", page)
            failed = reading.page(tx, Filter(status="failed"), PageRequest(), urls=URLS)
            await self._timed("list of failed generations", failed)
            delivered = history.page(tx, organization, PageRequest(), history.Filter())
            await self._timed("list of deliveries", delivered)
            head = await feed.head(tx)
            await self._timed("events after a position", feed.stretch(tx, max(head - 1_000, 0), limit=100))

    async def _timed(self, name: str, doing: Awaitable[Result]) -> Result:
        began = time.perf_counter()
        result = await doing
        self.seconds[name].append(time.perf_counter() - began)
        return result


async def alternate(filled: Sequence[Filled], turns: int, warm_up: int) -> list[dict[str, float]]:
    """The median milliseconds of each step, of each database."""
    async with contextlib.AsyncExitStack() as stack:
        sides = [await stack.enter_async_context(_side(each)) for each in filled]
        for number in range(warm_up + turns):
            if number == warm_up:
                for side in sides:
                    side.seconds.clear()
            for side in sides:
                await side.turn(number)
        return [{name: statistics.median(seconds) * 1000 for name, seconds in side.seconds.items()} for side in sides]


@contextlib.asynccontextmanager
async def _side(filled: Filled) -> AsyncIterator[Side]:
    connection = await connections.connect(filled.urls[roles.SYSTEM], name="atelier-relay", flush=False)
    side = Side(filled, connection)
    try:
        yield side
    finally:
        await side.close()
        await connection.close()


def _image() -> Image:
    key = ids.new("key")
    return Image(identity=key, storage_key=key, sha256="0" * 64, format="png", width=1, height=1, bytes=1)

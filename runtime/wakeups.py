"""Wake-ups between processes: hints that may be lost, late or doubled. Whoever listens also looks by itself, now and
then. They travel by Redis publish, and by NOTIFY on a connection of its own while Redis is away; never in a business
transaction, where NOTIFY would end group commit.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

import asyncpg
import redis.asyncio
from redis.exceptions import RedisError

from runtime import database, database_faults
from runtime.settings import Settings

log = logging.getLogger(__name__)

NUDGE = "atelier_nudge"
"""To the relay: something was committed that it should look at."""
FEED = "atelier_feed"
"""To the hubs: the feed has moved."""

_ANSWER_SECONDS = 0.5
_PAUSE_AFTER_FAILURE = 1.0
_BETWEEN_PUBLISHES = 0.004
_BETWEEN_NOTIFICATIONS = 0.02
"""Seconds. The first hint goes at once, those that come within this time share the next one: a publish costs its sender
as much as a tenth of a request, and a NOTIFY is a commit.
"""
_LATER = 0.03
"""Seconds after which a hint goes that is in no hurry."""
_BETWEEN_CANCELLATIONS = 0.2
_FAULTS = (RedisError, RuntimeError, *database_faults.ANY)
"""The second is uvloop's: of a connection that was reset a moment ago."""


class Nudge:
    """Fire and forget on one channel. What is sent soon after another one becomes one more after a short pause."""

    def __init__(self, settings: Settings, channel: str = NUDGE) -> None:
        self._redis = _Publisher(settings.redis_url, channel) if settings.redis_url else None
        self._database_url = settings.database_url
        self._channel = channel
        self._connection: asyncpg.Connection | None = None
        self._flight: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None
        self._again = False
        self._redis_away_until = 0.0

    def send(self) -> None:
        """Returns at once; to be called on the event loop, after a commit."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._again = True
        if self._flight is None or self._flight.done():
            self._flight = asyncio.get_running_loop().create_task(self._fly())

    def send_later(self) -> None:
        """For what nobody waits for: in a moment, or with the next that is sent."""
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(_LATER, self.send)

    async def close(self) -> None:
        if self._later is not None:
            self.send()
        if self._flight is not None:
            await asyncio.wait([self._flight], timeout=1)
        if self._redis is not None:
            await self._redis.close()
        if self._connection is not None:
            await self._connection.close()

    async def _fly(self) -> None:
        while self._again:
            self._again = False
            if await self._publish():
                await asyncio.sleep(_BETWEEN_PUBLISHES)
            else:
                await self._notify()
                await asyncio.sleep(_BETWEEN_NOTIFICATIONS)

    async def _publish(self) -> bool:
        if self._redis is None or time.monotonic() < self._redis_away_until:
            return False
        try:
            await self._redis.publish()
        except _FAULTS:
            self._redis_away_until = time.monotonic() + _PAUSE_AFTER_FAILURE
            return False
        return True

    async def _notify(self) -> None:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await database.connect(self._database_url, name="atelier-nudge", flush=False)
            await self._connection.execute(f"notify {self._channel}")
        except _FAULTS as error:
            log.warning("a wake-up was lost: %s", type(error).__name__)


class _Publisher:
    """One hint on one connection, for half of what redis-py's client takes for it: that looks after a pool, retries and
    a time-out for each read and write.
    """

    def __init__(self, url: str, channel: str) -> None:
        pool = redis.asyncio.ConnectionPool.from_url(url, socket_timeout=None, retry=None, health_check_interval=0)
        self._link = pool.make_connection()
        self._packed = self._link.pack_command("PUBLISH", channel, "")

    async def publish(self) -> None:
        """Connects where it is not connected, or where the server has closed the connection meanwhile. All that may
        take half a second; where it fails, the next call begins with a new connection.
        """
        async with asyncio.timeout(_ANSWER_SECONDS):
            if self._link.is_connected and await self._link.can_read():  # nobody has asked: it is the end
                await self._link.disconnect(nowait=True)
            await self._link.send_packed_command(self._packed, check_health=False)
            await self._link.read_response()

    async def close(self) -> None:
        await self._link.disconnect()


@contextlib.asynccontextmanager
async def listening(settings: Settings, channel: str, on_wake: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `on_wake` for each hint on the channel, by either way, and reconnects for as long as it is entered."""
    tasks = [asyncio.create_task(_forever(_listen_database, settings.database_url, channel, on_wake))]
    if settings.redis_url:
        tasks.append(asyncio.create_task(_forever(_listen_redis, settings.redis_url, channel, on_wake)))
    try:
        yield
    finally:
        await _end(tasks)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Says so again and again: a client that was just connecting may take its cancellation for a fault and go on."""
    open_tasks = set(tasks)
    while open_tasks:
        for task in open_tasks:
            task.cancel()
        _, open_tasks = await asyncio.wait(open_tasks, timeout=_BETWEEN_CANCELLATIONS)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _forever(listen: Callable[..., Awaitable[None]], url: str, channel: str, on_wake: Callable[[], None]) -> None:
    while True:
        with contextlib.suppress(*_FAULTS):
            await listen(url, channel, on_wake)
        await asyncio.sleep(_PAUSE_AFTER_FAILURE)


async def _listen_redis(url: str, channel: str, on_wake: Callable[[], None]) -> None:
    client = _client(url)
    async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        try:
            await pubsub.subscribe(channel)
            on_wake()
            while True:
                if await pubsub.get_message(timeout=30) is not None:
                    on_wake()
        finally:
            await client.aclose()


async def _listen_database(url: str, channel: str, on_wake: Callable[[], None]) -> None:
    connection = await database.connect(url, name="atelier-listen")
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    try:
        await connection.add_listener(channel, lambda *_: on_wake())
        on_wake()
        await ended.wait()
    finally:
        await connection.close(timeout=1)


def _client(url: str) -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(
        url,
        socket_connect_timeout=_ANSWER_SECONDS,
        socket_timeout=_ANSWER_SECONDS,
        retry=None,
        retry_on_timeout=False,
        health_check_interval=0,
    )


class Moved(NamedTuple):
    """One entry of the feed, without its contents."""

    position: int
    organization: str
    type: str
    subject: str


class Waiter:
    """Someone who waits for news of one organization, or of one thing in it. Register first, then read the state,
    then wait: so nothing falls in between.
    """

    def __init__(self, hub: "Hub", organization: str, subject: str | None) -> None:
        self.place = (organization, subject)
        self._hub = hub
        self._event = asyncio.Event()

    def __enter__(self) -> Self:
        self._hub.join(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        here = self._hub.waiters[self.place]
        here.discard(self)
        if not here:
            del self._hub.waiters[self.place]

    def notify(self) -> None:
        self._event.set()

    async def moved(self, timeout: float) -> bool:
        """Whether something moved within `timeout` seconds, or since the last call. True also when the hub closes."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


Read = Callable[[int | None], Awaitable[list[Moved]]]
"""Entries after a position, oldest first, a page at a time; None asks for the newest entry alone."""


class Hub:
    """The one place of a process where waits and streams meet: one query per move of the feed wakes all of them, so a
    waiter costs no query and no connection.
    """

    SWEEP = 0.5
    IDLE_SWEEP = 2.0
    UNWATCHED_REST = 0.1
    """Seconds between two looks while nobody waits: callbacks are in no hurry, and under load the feed moves a hundred
    times a second.
    """

    def __init__(self, read: Read) -> None:
        self.waiters: defaultdict[tuple[str, str | None], set[Waiter]] = defaultdict(set)
        self.closing = False
        self._read = read
        self._callbacks: dict[str, list[Callable[[Moved], None]]] = {}
        self._wake = asyncio.Event()
        self._joined = asyncio.Event()
        self._position: int | None = None

    def listen(self, organization: str, subject: str | None = None) -> Waiter:
        return Waiter(self, organization, subject)

    def on_event(self, type_: str, callback: Callable[[Moved], None]) -> None:
        self._callbacks.setdefault(type_, []).append(callback)

    def wake(self) -> None:
        self._wake.set()

    def join(self, waiter: Waiter) -> None:
        """Whoever waits is told of all that moves from now on."""
        self.waiters[waiter.place].add(waiter)
        self._joined.set()
        self.wake()

    def close(self) -> None:
        """Sends every waiter home; the streams end."""
        self.closing = True
        for waiter in self._everyone():
            waiter.notify()

    @contextlib.asynccontextmanager
    async def running(self, settings: Settings) -> AsyncIterator[Self]:
        async with listening(settings, FEED, self.wake):
            task = asyncio.create_task(self._run())
            try:
                yield self
            finally:
                self.close()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await _within(self.SWEEP if self.waiters else self.IDLE_SWEEP, self._wake)
            self._wake.clear()
            self._joined.clear()
            try:
                await self._catch_up()
                if not self.waiters:
                    await _within(self.UNWATCHED_REST, self._joined)
            except Exception:
                log.exception("the feed could not be read; waiters look for themselves")
                await asyncio.sleep(_PAUSE_AFTER_FAILURE)
                for waiter in self._everyone():
                    waiter.notify()

    async def _catch_up(self) -> None:
        if self._position is None:
            newest = await self._read(None)
            self._position = newest[-1].position if newest else 0
            for waiter in self._everyone():
                waiter.notify()
        while moved := await self._read(self._position):
            self._position = moved[-1].position
            for entry in moved:
                self._announce(entry)

    def _announce(self, entry: Moved) -> None:
        for place in ((entry.organization, entry.subject), (entry.organization, None)):
            for waiter in self.waiters.get(place, ()):
                waiter.notify()
        for callback in self._callbacks.get(entry.type, ()):
            callback(entry)

    def _everyone(self) -> Iterator[Waiter]:
        return iter([waiter for here in self.waiters.values() for waiter in here])


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Until it is set, for so long at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()

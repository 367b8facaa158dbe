"""A process's one connection to RabbitMQ, kept up by a thread of its own."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import pika
import uvloop

from queue_config import base
from queue_config.errors import BrokerUnavailableError
from queue_config.rabbitmq_session import FAULTS, Session
from runtime.telemetry import logs

log = logs.logger(__name__)

ANSWER_TIMEOUT: Final = 0.9
OPEN_TIMEOUT: Final = 5.0
RECONNECT_WAIT: Final = 0.25
STOP_TIMEOUT: Final = 2.0

T = TypeVar("T")
Join = Callable[[Session], Awaitable[None]]


class Link:
    """Heartbeats go on whatever the process does, and after each loss it connects anew. The thread starts at the first
    use and lives until `close`.
    """

    def __init__(self, parameters: pika.URLParameters, queue_names: Sequence[str]) -> None:
        self._parameters = parameters
        self._queue_names = queue_names
        self._joined: list[Join] = []
        self._lost = False
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._session: asyncio.Future[Session]
        self._closing: asyncio.Future[None]

    def call(self, act: Callable[[Session], Awaitable[T]]) -> T:
        """What `act` returns, on the link's loop. Raises BrokerUnavailableError, after about a second at most."""
        self._start()
        answer = asyncio.run_coroutine_threadsafe(self._act(act), self._loop)
        try:
            return answer.result(timeout=2 * ANSWER_TIMEOUT)
        except (TimeoutError, concurrent.futures.CancelledError) as error:
            raise BrokerUnavailableError("RabbitMQ is away: the connection is closed") from error

    def soon(self, act: Callable[[], object]) -> None:
        """On the link's loop."""
        with contextlib.suppress(RuntimeError):  # closed: there is nobody left to tell
            self._loop.call_soon_threadsafe(act)

    def join(self, join: Join) -> None:
        """Has it called with this session and with every later one. Raises BrokerUnavailableError: not yet, then."""
        self._start()
        self.soon(lambda: self._joined.append(join))
        self.call(join)

    def leave(self, join: Join) -> None:
        self.soon(lambda: self._joined.remove(join) if join in self._joined else None)

    def close(self) -> None:
        if self._thread is not None:
            self.soon(lambda: self._closing.set_result(None))
            self._thread.join(STOP_TIMEOUT)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._loop = uvloop.new_event_loop()
                self._session, self._closing = self._loop.create_future(), self._loop.create_future()
                self._thread = threading.Thread(target=self._run, name="rabbitmq", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._keep())

    async def _keep(self) -> None:
        living = asyncio.create_task(self._live_again_and_again())
        await self._closing
        living.cancel()
        await asyncio.wait((living,))

    async def _live_again_and_again(self) -> None:
        while True:
            try:
                await self._live()
            except FAULTS as error:
                self._fail(_told(error))
            except Exception as error:
                log.exception("the connection to RabbitMQ broke in an unforeseen way")
                self._fail(_told(error))
            await asyncio.sleep(RECONNECT_WAIT)
            self._session = self._loop.create_future()

    async def _live(self) -> None:
        session: Session | None = None
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                session = await Session.open(self._parameters, self._queue_names)
                for join in list(self._joined):
                    await join(session)
            self._session.set_result(session)
            if self._lost:
                self._lost = False
                log.info("RabbitMQ is reached again")
            await asyncio.wait((session.ended,))
            session.check()
        finally:
            if session is not None:
                await session.close()

    def _fail(self, error: BrokerUnavailableError) -> None:
        base.failures.labels("connect").inc()
        if not self._lost:
            self._lost = True
            log.warning("RabbitMQ cannot be reached", error=str(error))
        if not self._session.done():
            self._session.set_exception(error)
            self._session.exception()  # it is no fault when nobody asks

    async def _act(self, act: Callable[[Session], Awaitable[T]]) -> T:
        session: Session | None = None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                session = await asyncio.shield(self._session)
                session.check()
                return await act(session)
        except TimeoutError as error:
            if session is not None:
                session.end("it did not answer in time")
            raise BrokerUnavailableError("RabbitMQ is away: it did not answer in time") from error
        except FAULTS as error:
            raise _told(error) from error


def _told(error: Exception) -> BrokerUnavailableError:
    """Of libraries' errors the name alone: their texts may hold anything."""
    said = str(error) if isinstance(error, BrokerUnavailableError) else f"RabbitMQ is away: {type(error).__name__}"
    return BrokerUnavailableError(said)

"""What a worker process holds: the tasks whose leases are its own, and the heartbeat that renews them."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import asyncpg

from domain.tasks import claims
from runtime import database
from runtime.telemetry import logs

log = logs.logger(__name__)


class Holding:
    """One claimed task and the coroutine that carries it out."""

    def __init__(self, token: int, carrier: "asyncio.Task[object]") -> None:
        self.token = token
        self.stopped = False
        self.carrier = carrier
        self._recording = False

    @contextlib.asynccontextmanager
    async def recording(self) -> AsyncIterator[None]:
        """Inside and after it the holding is not stopped any more: the transaction's own fence decides, and what was
        recorded has no lease that a heartbeat could find. A record that failed may be stopped again.
        """
        if self.stopped:
            raise asyncio.CancelledError
        self._recording = True
        try:
            yield
        except BaseException:
            self._recording = False
            raise

    def stop(self) -> None:
        if not self._recording and not self.stopped:
            self.stopped = True
            self.carrier.cancel()


class Holdings:
    """Used on the loop of the actors; `snapshot` and `revoke` may be called from another thread."""

    def __init__(self) -> None:
        self._held: dict[int, Holding] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.contextmanager
    def hold(self, task_id: int, token: int) -> Iterator[Holding]:
        carrier = asyncio.current_task()
        if carrier is None:
            raise RuntimeError("a task is held by the coroutine that carries it out")
        self._loop = asyncio.get_running_loop()
        holding = Holding(token, carrier)
        with self._lock:
            self._held[task_id] = holding
        try:
            yield holding
        finally:
            with self._lock:
                if self._held.get(task_id) is holding:
                    del self._held[task_id]

    def snapshot(self) -> dict[int, int]:
        """Task id → lease token."""
        with self._lock:
            return {task_id: holding.token for task_id, holding in self._held.items()}

    def revoke(self, tokens: dict[int, int]) -> None:
        """Stops those that are still held under these tokens."""
        with self._lock:
            lost = [held for task, held in self._held.items() if tokens.get(task) == held.token]
        if self._loop is not None:
            for holding in lost:
                self._loop.call_soon_threadsafe(holding.stop)

    async def stop_all(self) -> dict[int, int]:
        """What was stopped, id → token. Records under way are waited for."""
        with self._lock:
            all_of_them = dict(self._held)
        for holding in all_of_them.values():
            holding.stop()
        if all_of_them:
            await asyncio.wait([holding.carrier for holding in all_of_them.values()])
        return {task_id: holding.token for task_id, holding in all_of_them.items() if holding.stopped}


class Heartbeat(threading.Thread):
    """Renews the leases of everything held, by one statement each third of a lease, from a thread of its own with a
    connection of its own: actors that block their loop do not lose their leases. What cannot be renewed in time is
    stopped before its lease ends.
    """

    def __init__(self, system_url: str, holdings: Holdings, lease: timedelta) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._url = system_url
        self._holdings = holdings
        self._lease = lease
        self._interval = min(1.0, lease.total_seconds() / 3)
        self._ended = threading.Event()
        self._last_renewed = time.monotonic()

    def run(self) -> None:
        asyncio.run(self._beat_for_ever())

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=5)

    async def _beat_for_ever(self) -> None:
        connection: asyncpg.Connection | None = None
        while not await asyncio.to_thread(self._ended.wait, self._interval):
            held = self._holdings.snapshot()
            began = time.monotonic()
            if held:
                try:
                    async with asyncio.timeout(self._lease.total_seconds() * 0.3):
                        if connection is None or connection.is_closed():
                            connection = await database.connect(self._url, name="atelier-heartbeat", flush=False)
                        renewed = await claims.renew(connection, held, self._lease)
                except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    log.warning("leases could not be renewed", error=type(error).__name__)
                    self._give_up_late(held)
                    continue
                self._holdings.revoke({task: token for task, token in held.items() if task not in renewed})
            self._last_renewed = began
        if connection is not None:
            await connection.close()

    def _give_up_late(self, held: dict[int, int]) -> None:
        if time.monotonic() - self._last_renewed > self._lease.total_seconds() * 0.6:
            self._holdings.revoke(held)

"""What a worker process holds: the tasks whose leases are its own, and the heartbeat that renews them."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Collection, Iterator
from datetime import timedelta
from typing import Final

import asyncpg

from domain.tasks import claims, owners
from runtime import database, database_faults, failpoints
from runtime.telemetry import logs

log = logs.logger(__name__)

_RECONNECT_SECONDS: Final = 0.2
_CLEANUP_SECONDS: Final = 1.0
"""How long what was stopped may take to let go of what it has open."""


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
            self.break_off()

    def break_off(self) -> None:
        """In a record too: nothing of it is kept, unless its commit was on the way already."""
        self.stopped = True
        self.carrier.cancel()


class Holdings:
    """Used on the loop of the actors; `snapshot` and `revoke` may be called from another thread.

    `number` is what this process holds its advisory lock on, and claims under (`domain.tasks.owners`); None while it
    holds none, and then a lease alone says whether the process lives.
    """

    def __init__(self) -> None:
        self.number: int | None = None
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

    def __len__(self) -> int:
        return len(self._held)

    def holds(self, task_id: int) -> bool:
        with self._lock:
            return task_id in self._held

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
        """All but the records under way. What was stopped, id → token."""
        stopped = self._all()
        for holding in stopped.values():
            holding.stop()
        stopped = {task_id: holding for task_id, holding in stopped.items() if holding.stopped}
        await _end(stopped.values(), _CLEANUP_SECONDS)
        return {task_id: holding.token for task_id, holding in stopped.items()}

    async def stop_records(self, patience: float) -> dict[int, int]:
        """The records under way that are not done within so many seconds: their transactions are rolled back. What was
        stopped, id → token.
        """
        recording = {task_id: holding for task_id, holding in self._all().items() if not holding.stopped}
        await _end(recording.values(), patience)
        late = {task_id: holding for task_id, holding in recording.items() if not holding.carrier.done()}
        for holding in late.values():
            holding.break_off()
        await _end(late.values(), _CLEANUP_SECONDS)
        return {task_id: holding.token for task_id, holding in late.items()}

    def _all(self) -> dict[int, Holding]:
        with self._lock:
            return dict(self._held)


async def _end(holdings: Collection[Holding], seconds: float) -> None:
    """Waits for those that carry them out, but no longer."""
    if holdings:
        await asyncio.wait([holding.carrier for holding in holdings], timeout=seconds)


class Heartbeat(threading.Thread):
    """Renews the leases of everything held, by one statement each third of a lease, from a thread of its own with a
    connection of its own: actors that block their loop do not lose their leases. What cannot be renewed in time is
    stopped before its lease ends.

    The same connection holds the process's number. When it breaks, it is made anew at once, under a new number; what
    was held goes on under that one, or is stopped if it has been given to another worker meanwhile.
    """

    def __init__(self, system_url: str, holdings: Holdings, lease: timedelta) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._url = system_url
        self._holdings = holdings
        self._lease = lease
        self._interval = min(1.0, lease.total_seconds() / 3)
        self.loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        self._ended = False
        self._last_renewed = time.monotonic()
        self._connection: asyncpg.Connection | None = None

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._beat_for_ever())

    def stop(self) -> None:
        self._ended = True
        self.loop.call_soon_threadsafe(self._wake.set)
        self.join(timeout=5)

    async def _beat_for_ever(self) -> None:
        while not self._ended:
            self._wake.clear()
            began, held = time.monotonic(), self._holdings.snapshot()
            try:
                async with asyncio.timeout(self._lease.total_seconds() * 0.3):
                    await self._beat(held)
            except Exception as error:  # noqa: BLE001 - whatever it is: without this thread every lease would lapse
                log.warning("leases could not be renewed", error=type(error).__name__)
                self._disconnect()
                self._give_up_late(held)
            else:
                self._last_renewed = began
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval if self._connection else _RECONNECT_SECONDS):
                    await self._wake.wait()
        if self._connection is not None:
            with contextlib.suppress(*database_faults.ANY):
                await self._connection.close(timeout=1)

    async def _beat(self, held: dict[int, int]) -> None:
        if self._connection is None or self._connection.is_closed():
            await self._connect()
        if held:
            failpoints.hit("heartbeat.before_renewal")
            renewed = await claims.renew(self._connection, held, self._lease, number=self._holdings.number)
            failpoints.hit("heartbeat.after_renewal")
            self._holdings.revoke({task: token for task, token in held.items() if task not in renewed})

    async def _connect(self) -> None:
        self._holdings.number = None
        self._connection = await database.connect(self._url, name="atelier-heartbeat", flush=False)
        self._connection.add_termination_listener(self._lost)
        self._holdings.number = await owners.draw(self._connection)
        if self._holdings.number is None:
            log.warning("a pooler hides whether this process lives; a killed one is found when its leases end")

    def _disconnect(self) -> None:
        self._holdings.number = None
        if self._connection is not None:
            self._connection.remove_termination_listener(self._lost)
            self._connection.terminate()
            self._connection = None

    def _lost(self, _: asyncpg.Connection) -> None:
        self._wake.set()

    def _give_up_late(self, held: dict[int, int]) -> None:
        if not held:
            self._last_renewed = time.monotonic()
        elif time.monotonic() - self._last_renewed > self._lease.total_seconds() * 0.6:
            self._holdings.revoke(held)

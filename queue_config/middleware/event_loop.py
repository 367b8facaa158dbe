"""The one event loop on which a worker process runs its async actors."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import dramatiq
import uvloop
from dramatiq.asyncio import EventLoopThread, get_event_loop_thread
from dramatiq.asyncio import set_event_loop_thread as publish
from dramatiq.middleware import AsyncIO, MiddlewareError

log = logging.getLogger(__name__)

Hook = Callable[[], Awaitable[None]]
START_TIMEOUT = 5.0
LEFTOVERS_TIMEOUT = 2.0


class EventLoopError(MiddlewareError):
    """What the process needs on its loop could not be set up; the worker does not start."""


async def _nothing() -> None:
    """The default hook."""


class EventLoop(AsyncIO):
    """Dramatiq's AsyncIO on uvloop. `on_start` is awaited on the loop before the first message is taken, `on_stop`
    after the last one has ended; whatever still runs then is cancelled.
    """

    def __init__(self, on_start: Hook = _nothing, on_stop: Hook = _nothing) -> None:
        super().__init__()
        self._on_start = on_start
        self._on_stop = on_stop

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Raises EventLoopError unless the worker runs."""
        thread = get_event_loop_thread()
        if thread is None:
            raise EventLoopError("the worker's event loop does not run")
        return thread.loop

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002 Dramatiq's
        thread = _UvloopThread(log)
        thread.start(timeout=START_TIMEOUT)
        publish(thread)
        try:
            thread.run_coroutine(self._on_start())
        except Exception as error:
            self._stop(thread)
            raise EventLoopError(f"the worker could not be set up: {error}") from error

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002 Dramatiq's
        if thread := get_event_loop_thread():
            try:
                thread.run_coroutine(self._on_stop())
            finally:
                self._stop(thread)

    def _stop(self, thread: EventLoopThread) -> None:
        thread.run_coroutine(_cancel_leftovers())
        thread.stop()
        publish(None)


class _UvloopThread(EventLoopThread):
    def __init__(self, logger: logging.Logger) -> None:
        # nothing interrupts actors from outside, so the waiting threads need not look for it ten times a second
        super().__init__(logger, interrupt_check_ival=5.0)
        self.daemon = True
        self.loop.close()
        self.loop = uvloop.new_event_loop()


async def _cancel_leftovers() -> None:
    leftovers: set[asyncio.Task[Any]] = asyncio.all_tasks() - {asyncio.current_task()}
    for task in leftovers:
        task.cancel()
    if leftovers:
        await asyncio.wait(leftovers, timeout=LEFTOVERS_TIMEOUT)
    await asyncio.get_running_loop().shutdown_asyncgens()

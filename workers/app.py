"""The processes behind the API: `serve_worker` for one group of queues, `serve_relay` for the relay."""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Protocol

import dramatiq
import uvloop
from dramatiq.asyncio import async_to_sync
from dramatiq.middleware import CurrentMessage

from queue_config import queues, serving
from queue_config.base import AHEAD, MessageBroker
from queue_config.broker import build_broker
from queue_config.middleware.event_loop import EventLoop, EventLoopError
from queue_config.queues import Group, Queue
from queue_config.slots import GROWTH
from runtime import activation, failpoints
from runtime.database import Database, SystemDatabase
from runtime.endings import Ending
from runtime.settings import Settings
from runtime.stopping import StopSignal
from runtime.telemetry import logs, metrics, metrics_server, statements, tracing
from runtime.wakeups import Nudge
from runtime.watchdog import Watchdog, on_this_loop
from workers import readiness, toolboxes
from workers.actor import ACTORS, Actor
from workers.execution import Executor
from workers.holdings import Heartbeat
from workers.relay import Relay
from workers.tools import Tools

log = logs.logger(__name__)


class Worker:
    """What one worker process has on its event loop, from `open` to `close`."""

    def __init__(self, settings: Settings, group: Group, watchdog: Watchdog) -> None:
        self._settings = settings
        self._group = group
        self._watchdog = watchdog
        self._cleanup = contextlib.AsyncExitStack()
        self._serving: dramatiq.Worker | None = None
        self.executor: Executor
        self.broker: MessageBroker
        self._tools: Tools
        self._heartbeat: Heartbeat
        self._nudge: Nudge

    async def open(self) -> None:
        async with contextlib.AsyncExitStack() as cleanup:
            settings = self._settings
            database = Database(settings.database_url, size=settings.database_pool_size, name=f"atelier-{self._group}")
            cleanup.push_async_callback(database.close)
            system = SystemDatabase(settings.database_system_url, size=2, name="atelier-claims", flush=False)
            cleanup.push_async_callback(system.close)
            statements.install(database.engine, settings.slow_statement, "app")
            statements.install(system.engine, settings.slow_statement, "system")
            await database.check_role()
            await system.check_role()
            opened = toolboxes.opened(settings, database, system, self._group, self.broker)
            self._tools = await cleanup.enter_async_context(opened)
            self._nudge = Nudge(settings)
            cleanup.push_async_callback(self._nudge.close)
            lease = timedelta(seconds=settings.lease_seconds)
            self.executor = Executor(
                database, system, self._tools, actors_of(self._group), lease=lease, nudge=self._nudge.send
            )
            self._heartbeat = Heartbeat(settings.database_system_url, self.executor.holdings, lease)
            self._heartbeat.start()
            cleanup.callback(self._heartbeat.stop)
            self._watchdog.watch("actors", asyncio.get_running_loop())
            self._watchdog.watch("heartbeat", self._heartbeat.loop)
            server = await metrics_server.serve(settings.host, settings.metrics_port, self.ailment, self._hindrance)
            cleanup.push_async_callback(server.close)
            watch = asyncio.create_task(metrics.watch_event_loop("actors"))
            cleanup.callback(watch.cancel)
            log.info("worker ready", group=self._group, metrics=server.url, owner=self.executor.owner)
            self._cleanup = cleanup.pop_all()

    async def run(self, queue: Queue, task_ids: Sequence[int], *, ahead: bool) -> None:
        """One message."""
        failpoints.hit("worker.on_message")
        if queue.group == "images":
            await self.executor.run(task_ids, ahead=ahead)
        else:
            await self.executor.begin(queue, task_ids)

    async def give_back(self) -> None:
        await self.executor.give_back()
        self._nudge.send()

    def serves(self, serving_worker: dramatiq.Worker) -> None:
        """From now on it is ready, and its threads must live."""
        self._serving = serving_worker
        self._watchdog.watch_for(self.ailment)

    def ailment(self) -> str | None:
        if not self._heartbeat.is_alive():
            return "the heartbeat has died"
        return serving.ailment(self._serving) if self._serving else None

    async def _hindrance(self) -> str | None:
        if self._serving is None:
            return "it is about to start"
        return await readiness.hindrance(self.executor, self.broker, self._tools.renderers)

    async def close(self) -> None:
        await self._cleanup.aclose()


def actors_of(group: Group) -> dict[str, Actor]:
    return {name: actor for name, actor in ACTORS.items() if actor.queue.group == group}


def serve_worker(settings: Settings, group: Group) -> Ending:
    """Until SIGTERM or SIGINT, or until the watchdog finds something. Then nothing new is taken, and what runs is given
    back at once.

    Raises WrongRoleError.
    """
    _configure(settings, f"worker-{group}")
    stopping = StopSignal()
    watchdog = Watchdog(settings, stopping.set)
    watchdog.start()
    worker = Worker(settings, group, watchdog)
    loop = EventLoop(worker.open, worker.close)
    worker.broker = broker = build_broker(settings, [loop, CurrentMessage()])
    declare(broker, group, worker.run)
    threads = settings.image_workers * GROWTH if group == "images" else settings.io_threads
    serving_worker = _started(broker, group, threads)
    worker.serves(serving_worker)
    activation.announce_ready()
    stopping.wait()
    watchdog.expect_end()
    log.info("worker stops")
    serving.stop_taking(serving_worker)
    _give_back(worker, loop, settings.shutdown_timeout)
    serving.stop(serving_worker, settings.shutdown_timeout)
    broker.close()
    tracing.shutdown()
    return watchdog.ending


def _give_back(worker: Worker, loop: EventLoop, seconds: float) -> None:
    """No longer than that, and then the stop goes on whatever came of it: others find what is left."""
    try:
        asyncio.run_coroutine_threadsafe(worker.give_back(), loop.loop).result(timeout=seconds)
    except Exception as error:  # noqa: BLE001 - there is more to stop
        log.warning("tasks could not be given back", error=type(error).__name__)


def _started(broker: MessageBroker, group: Group, threads: int) -> dramatiq.Worker:
    """Raises what kept the worker from opening, such as WrongRoleError."""
    try:
        return serving.start(broker, group, threads)
    except EventLoopError as error:
        raise error.__cause__ or error from None


class Run(Protocol):
    """Carries out one message."""

    def __call__(self, queue: Queue, task_ids: Sequence[int], *, ahead: bool) -> Awaitable[None]: ...


def declare(broker: MessageBroker, group: Group, run: Run) -> None:
    """One Dramatiq actor for each of ours and each queue that its tasks may travel in; a message's only argument is its
    task ids.
    """
    for actor in actors_of(group).values():
        for queue in queues.lanes_of(actor.queue):
            taken, name = functools.partial(_taken, run, queue), actor.name_in(queue)
            dramatiq.actor(taken, actor_name=name, queue_name=queue.name, broker=broker)  # type: ignore[call-overload]


def _taken(run: Run, queue: Queue, task_ids: Sequence[int]) -> None:
    """On one of Dramatiq's threads."""
    message = CurrentMessage.get_current_message()
    async_to_sync(run)(queue, task_ids, ahead=message is not None and message.options == AHEAD)


def serve_relay(settings: Settings) -> Ending:
    """Until SIGTERM or SIGINT, or until the watchdog finds something. Raises WrongRoleError."""
    _configure(settings, "relay")
    ending = uvloop.run(_relay(settings))
    tracing.shutdown()
    return ending


async def _relay(settings: Settings) -> Ending:
    await _check_system_role(settings)
    broker = build_broker(settings)
    relay = Relay(settings, broker)
    watchdog = on_this_loop("relay", settings, relay.stop)
    server = await metrics_server.serve(settings.host, settings.metrics_port, relay.ailment, relay.hindrance)
    log.info("relay ready", metrics=server.url)
    activation.announce_ready()
    try:
        await relay.run()
    finally:
        await server.close()
        await asyncio.to_thread(broker.close)
    return watchdog.ending


async def _check_system_role(settings: Settings) -> None:
    system = SystemDatabase(settings.database_system_url, size=1, name="atelier-relay")
    try:
        await system.check_role()
    finally:
        await system.close()


def _configure(settings: Settings, process: str) -> None:
    logs.configure(settings, process)
    metrics.configure(process)
    tracing.configure(settings, f"atelier-{process}")
    failpoints.configure(settings.failpoints, settings.failpoints_dir, process)

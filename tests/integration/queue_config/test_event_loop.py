"""The loop of a worker process, with the in-memory broker."""

import asyncio
import threading

import dramatiq
import pytest
import uvloop

from queue_config import serving
from queue_config.broker import build_broker
from queue_config.middleware.event_loop import EventLoop, EventLoopError
from runtime.settings import Settings


def test_hooks_run_on_the_loop_before_the_first_message_and_after_the_last() -> None:
    story: list[str] = []
    acted = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def on_start() -> None:
        await asyncio.sleep(0.05)
        loops.append(asyncio.get_running_loop())
        story.append("started")

    async def on_stop() -> None:
        loops.append(asyncio.get_running_loop())
        story.append("stopped")

    event_loop = EventLoop(on_start, on_stop)
    broker = build_broker(Settings(broker="stub"), [event_loop])

    @dramatiq.actor(broker=broker, queue_name="mail", actor_name="act")
    async def act() -> None:
        loops.append(asyncio.get_running_loop())
        story.append("acted")
        acted.set()

    broker.enqueue(act.message())
    worker = serving.start(broker, "io", threads=2)
    assert acted.wait(5)
    assert isinstance(event_loop.loop, uvloop.Loop)
    serving.stop(worker, timeout=5)
    assert story == ["started", "acted", "stopped"]
    assert len(set(loops)) == 1
    with pytest.raises(EventLoopError):
        _ = event_loop.loop


def test_a_failing_set_up_keeps_the_worker_from_starting() -> None:
    async def on_start() -> None:
        raise ConnectionError("no database")

    broker = build_broker(Settings(broker="stub"), [EventLoop(on_start)])
    with pytest.raises(EventLoopError, match="no database"):
        serving.start(broker, "io", threads=1)


def test_what_still_runs_when_the_worker_stops_is_cancelled_and_may_clean_up() -> None:
    cleaned = threading.Event()

    async def lingering() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            cleaned.set()

    tasks: list[asyncio.Task[None]] = []

    async def on_start() -> None:
        tasks.append(asyncio.create_task(lingering()))
        await asyncio.sleep(0)

    worker = serving.start(build_broker(Settings(broker="stub"), [EventLoop(on_start)]), "io", threads=1)
    serving.stop(worker, timeout=5)
    assert cleaned.is_set()
    assert tasks[0].cancelled()

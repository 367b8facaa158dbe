"""`python -m bench.brokers`: the brokers side by side, without the product around them. Redis is the embedded one,
RabbitMQ a single node out of Debian's package; both write to disk as they do in production.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

import dramatiq
import msgspec
import psutil  # type: ignore[import-untyped]

from bench.rabbitmq_server import MissingPackageError, RabbitmqServer
from queue_config import serving
from queue_config.base import MessageBroker
from queue_config.broker import build_broker
from queue_config.errors import BrokerUnavailableError
from queue_config.middleware.event_loop import EventLoop
from runtime.services import EmbeddedServices
from runtime.settings import Secret, Settings

QUEUE: Final = "lifecycle"
BATCH: Final = 20
"""Messages that a busy relay sends at once."""
THREADS: Final = 8
BACKLOG: Final = 5_000
SINGLE: Final = 300


class Figures(msgspec.Struct, frozen=True):
    """Milliseconds, messages a second, megabytes. `back`: until a killed worker's messages are with another one; None:
    never, the ledger sends them again after `ATELIER_DISPATCHED_TIMEOUT`.
    """

    sent: float
    confirmed: tuple[float, float]
    arrived: tuple[float, float]
    carried_out: float
    back: float | None
    memory: float


class Listener:
    """A worker whose one actor notes when it was called."""

    def __init__(self, settings: Settings) -> None:
        self.calls: list[float] = []
        self.broker = build_broker(settings, [EventLoop()])
        dramatiq.actor(broker=self.broker, queue_name=QUEUE, actor_name="note")(self._note)
        self._worker = serving.start(self.broker, "io", THREADS)

    async def _note(self, _ids: list[int]) -> None:
        self.calls.append(time.perf_counter())

    def wait_for(self, count: int) -> None:
        while len(self.calls) < count:
            time.sleep(0.001)

    def close(self) -> None:
        serving.stop(self._worker, timeout=5)
        self.broker.close()


def measure(settings: Settings, pid: int, seconds: float) -> Figures:
    broker = build_broker(settings)
    broker.enqueue(message())
    broker.flush_all()
    sent = send_for(broker, seconds)
    broker.flush_all()
    confirmed = [timed(lambda: broker.enqueue(message())) for _ in range(SINGLE)]
    broker.flush_all()
    with contextlib.closing(Listener(settings)) as listener:
        arrived = [arrival(broker, listener) for _ in range(SINGLE)]
    for _ in range(BACKLOG // BATCH):
        broker.enqueue_many([message() for _ in range(BATCH)])
    began = time.perf_counter()
    with contextlib.closing(Listener(settings)) as listener:
        listener.wait_for(BACKLOG)
        carried_out = BACKLOG / (listener.calls[-1] - began)
    back = time_back(settings, broker) if settings.broker == "rabbitmq" else None
    broker.close()
    memory = psutil.Process(pid).memory_info().rss / 1e6
    return Figures(sent, percentiles(confirmed), percentiles(arrived), carried_out, back, memory)


def message() -> dramatiq.Message[None]:
    return dramatiq.Message(queue_name=QUEUE, actor_name="note", args=([1, 2],), kwargs={}, options={})


def send_for(broker: MessageBroker, seconds: float) -> float:
    """Messages a second."""
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        broker.enqueue_many([message() for _ in range(BATCH)])
        count += BATCH
    return count / (time.perf_counter() - began)


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def arrival(broker: MessageBroker, listener: Listener) -> float:
    """Of one message, to a worker that has been idle for some milliseconds."""
    before, began = len(listener.calls), time.perf_counter()
    broker.enqueue(message())
    listener.wait_for(before + 1)
    time.sleep(0.005)
    return listener.calls[-1] - began


def time_back(settings: Settings, broker: MessageBroker) -> float:
    """From SIGKILL of the process that holds a message to its arrival at another one."""
    context = multiprocessing.get_context("spawn")
    holds = context.Event()
    process = context.Process(target=hold, args=(str(settings.rabbitmq_url), holds))
    process.start()
    broker.enqueue(message())
    holds.wait(30)
    other = broker.consume(QUEUE, prefetch=THREADS, timeout=10_000)
    began = time.perf_counter()
    os.kill(process.pid or 0, signal.SIGKILL)
    found = next(other)
    seconds = time.perf_counter() - began
    if found is None:
        raise RuntimeError("the message did not come back")
    other.ack(found)
    other.close()
    process.join()
    return seconds * 1000


def hold(url: str, holds: Event) -> None:
    broker = build_broker(Settings(broker="rabbitmq", rabbitmq_url=Secret(url)))
    if next(broker.consume(QUEUE, prefetch=THREADS, timeout=10_000)) is not None:
        holds.set()
    threading.Event().wait(60)


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


@contextlib.contextmanager
def redis() -> Iterator[tuple[Settings, int]]:
    with tempfile.TemporaryDirectory(prefix="atelier-") as folder, asyncio.Runner() as runner:
        services = EmbeddedServices(Path(folder), progress=lambda _: None, postgres=False)
        runner.run(services.start())
        try:
            yield Settings(redis_url=services.endpoints.redis_url), services.pids()["redis"]
        finally:
            runner.run(services.stop())


@contextlib.contextmanager
def rabbitmq() -> Iterator[tuple[Settings, int]]:
    with tempfile.TemporaryDirectory(prefix="atelier-") as folder:
        server = RabbitmqServer(Path(folder))
        server.start()
        try:
            yield Settings(broker="rabbitmq", rabbitmq_url=Secret(server.url)), server.pid
        finally:
            server.close()


def row(name: str, figures: Figures) -> str:
    confirmed, arrived = (f"{p50:.2f} / {p99:.2f} ms" for p50, p99 in (figures.confirmed, figures.arrived))
    back = f"{figures.back:.0f} ms" if figures.back is not None else "by the ledger"
    return (
        f"| {name} | {confirmed} | {arrived} | {figures.sent:,.0f} | {figures.carried_out:,.0f} | {back} "
        f"| {figures.memory:.0f} MB |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m bench.brokers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, metavar="N", help="of sending (default 3)")
    given = parser.parse_args()
    print("| broker | sent p50 / p99 | at the actor p50 / p99 | sent/s | carried out/s | after a kill | server |")
    print("|---|---|---|---|---|---|---|")
    for start in (redis, rabbitmq):
        try:
            with start() as (settings, pid):
                print(row(settings.broker, measure(settings, pid, given.seconds)), flush=True)
        except (MissingPackageError, BrokerUnavailableError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Relays that run in the test's own event loop or as processes, and a broker that keeps what they send."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import dramatiq
import pytest

from queue_config import queues
from queue_config.base import MessageBroker
from queue_config.errors import BrokerUnavailableError
from queue_config.stub_broker import StubBroker
from tests.integration.courier import Courier
from tests.integration.workers.conftest import Spine
from workers import schedule
from workers.relay import Relay
from workers.schedule import Schedule

ROOT = Path(__file__).parents[3]


class Recording(StubBroker):
    """Keeps what was sent; can be away."""

    def __init__(self) -> None:
        super().__init__(queues.QUEUES)
        self.sent: list[int] = []
        self.away = False
        self.refused = 0

    def enqueue_many(self, messages: Sequence[dramatiq.Message[Any]]) -> None:
        if self.away:
            self.refused += 1
            raise BrokerUnavailableError("away")
        self.sent += [task for message in messages for task in message.args[0]]


@contextlib.asynccontextmanager
async def running(
    spine: Spine | Courier, broker: MessageBroker, *, schedules: Sequence[Schedule] = ()
) -> AsyncIterator[Relay]:
    """It looks at `schedules` alone, at none unless a test names some: no real tick falls into a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "SCHEDULES", schedules)
        made = Relay(spine.settings, broker)
        task = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            made.stop()
            await task


async def until(condition: Any, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


@contextlib.contextmanager
def relay_process(spine: Spine, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`atelier relay`, and the file it logs to."""
    given = {
        "ATELIER_DATA_DIR": folder / "var",
        "ATELIER_DATABASE_URL": spine.settings.database_url,
        "ATELIER_DATABASE_SYSTEM_URL": spine.settings.database_system_url,
        "ATELIER_REDIS_URL": spine.settings.redis_url,
        "ATELIER_METRICS_PORT": 0,
        "PYTHONPATH": ROOT,
    }
    path = folder / "relay.log"
    with path.open("wb") as log:
        command = [sys.executable, "-m", "cli.main", "relay"]
        environment = os.environ | {name: str(value) for name, value in given.items()}
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        yield process, path
    finally:
        process.kill()
        process.wait()

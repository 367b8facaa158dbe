"""Relays that run in the test's own event loop, and a broker that keeps what they send."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import dramatiq

from queue_config import queues
from queue_config.base import MessageBroker
from queue_config.errors import BrokerUnavailableError
from queue_config.stub_broker import StubBroker
from tests.integration.courier import Courier
from tests.integration.workers.conftest import Spine
from workers.relay import Relay


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
async def running(spine: Spine | Courier, broker: MessageBroker) -> AsyncIterator[Relay]:
    made = Relay(spine.settings, broker)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        made.stop()
        await task


async def until(condition: Any, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)

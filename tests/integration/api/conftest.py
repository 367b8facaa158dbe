"""The API with a relay behind it, so that the feed moves; no worker makes images here."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from queue_config.queues import QUEUES
from queue_config.stub_broker import StubBroker
from runtime.settings import Settings
from workers.relay import Relay


@pytest.fixture
async def relay(settings: Settings) -> AsyncIterator[Relay]:
    running = Relay(settings, StubBroker(QUEUES))
    task = asyncio.create_task(running.run())
    yield running
    running.stop()
    await task

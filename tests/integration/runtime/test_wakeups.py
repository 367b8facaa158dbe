"""Listening for hints, over a network that can be slow."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import msgspec
import pytest

from bench.faults import proxy
from bench.faults.proxy import Link
from runtime import wakeups
from runtime.settings import Secret, Settings

MOMENTS = 60


@pytest.fixture
async def slow_redis(settings: Settings) -> AsyncIterator[Link]:
    link = Link(proxy.over_tcp(urlsplit(str(settings.redis_url)).port))
    await link.open()
    link.delay = 0.005
    yield link
    await link.close()


async def test_listening_ends_at_whatever_moment_of_its_beginning_it_is_told_to(
    settings: Settings, slow_redis: Link
) -> None:
    parts = urlsplit(str(settings.redis_url))
    address = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{slow_redis.port}")).geturl()
    settings = msgspec.structs.replace(settings, redis_url=Secret(address))
    for moment in range(MOMENTS):
        async with asyncio.timeout(20):
            async with wakeups.listening(settings, wakeups.NUDGE, lambda: None):
                await asyncio.sleep(moment / 1000)

"""Listening for hints, over a network that can be slow."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import msgspec
import pytest

from bench.faults import proxy
from bench.faults.proxy import Link
from runtime import wakeups
from runtime.settings import Secret, Settings
from runtime.wakeups import Nudge

MOMENTS = 60


@pytest.fixture
async def slow_redis(settings: Settings) -> AsyncIterator[Link]:
    link = Link(proxy.over_tcp(urlsplit(str(settings.redis_url)).port))
    await link.open()
    link.delay = 0.005
    yield link
    await link.close()


def over(link: Link, settings: Settings) -> Settings:
    parts = urlsplit(str(settings.redis_url))
    address = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{link.port}")).geturl()
    return msgspec.structs.replace(settings, redis_url=Secret(address))


async def test_listening_ends_at_whatever_moment_of_its_beginning_it_is_told_to(
    settings: Settings, slow_redis: Link
) -> None:
    settings = over(slow_redis, settings)
    for moment in range(MOMENTS):
        async with asyncio.timeout(20):
            async with wakeups.listening(settings, wakeups.NUDGE, lambda: None):
                await asyncio.sleep(moment / 1000)


async def _hear(settings: Settings, send: Callable[[Nudge], Awaitable[None]]) -> None:
    """Ends when what was sent is heard, by whoever was listening before."""
    heard: asyncio.Queue[None] = asyncio.Queue()
    nudge = Nudge(settings)
    async with asyncio.timeout(20), wakeups.listening(settings, wakeups.NUDGE, lambda: heard.put_nowait(None)):
        for _ in ("by Redis", "by PostgreSQL"):
            await heard.get()
        await send(nudge)
        await heard.get()
    await nudge.close()


async def test_what_nobody_waits_for_is_said_all_the_same(settings: Settings) -> None:
    async def later(nudge: Nudge) -> None:
        nudge.send_later()
        nudge.send_later()

    await _hear(settings, later)


async def test_what_is_to_be_said_later_is_said_before_the_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def later(nudge: Nudge) -> None:
        nudge.send_later()
        await nudge.close()

    monkeypatch.setattr(wakeups, "_LATER", 60)
    await _hear(settings, later)


async def test_what_is_to_be_said_later_goes_with_what_is_said_now(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def later_and_now(nudge: Nudge) -> None:
        nudge.send_later()
        nudge.send()

    monkeypatch.setattr(wakeups, "_LATER", 60)
    await _hear(settings, later_and_now)


@pytest.mark.parametrize("silent", [False, True])
async def test_a_connection_that_broke_or_says_nothing_costs_no_hint_and_is_made_anew(
    settings: Settings, slow_redis: Link, monkeypatch: pytest.MonkeyPatch, *, silent: bool
) -> None:
    monkeypatch.setattr(wakeups, "_PAUSE_AFTER_FAILURE", 0.0)
    heard = asyncio.Event()
    nudge = Nudge(over(slow_redis, settings))
    async with asyncio.timeout(20), wakeups.listening(settings, wakeups.NUDGE, heard.set):
        assert await nudge._publish()
        if silent:
            slow_redis.hold(held=True)
        else:
            slow_redis.cut()
        await asyncio.sleep(0.1)
        heard.clear()
        nudge.send()
        await heard.wait()
        slow_redis.mend()
        assert await nudge._publish(), "over Redis again"
    await nudge.close()


async def test_a_connection_that_the_server_has_closed_is_no_fault(settings: Settings, slow_redis: Link) -> None:
    nudge = Nudge(over(slow_redis, settings))
    assert await nudge._publish()
    slow_redis.cut()
    await asyncio.sleep(0.1)
    assert await nudge._publish()
    await nudge.close()

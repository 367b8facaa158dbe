"""The hub by itself, over a feed that is a list."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from runtime.wakeups import Hub, Moved

ORGANIZATION, SUBJECT = "org_1", "gen_1"


class Feed:
    def __init__(self) -> None:
        self.entries: list[Moved] = []
        self.looks = 0
        self.looked = asyncio.Event()

    def append(self) -> None:
        self.entries.append(Moved(len(self.entries) + 1, ORGANIZATION, "generation.succeeded", SUBJECT))

    async def read(self, position: int | None) -> list[Moved]:
        self.looks += 1
        self.looked.set()
        return self.entries[-1:] if position is None else self.entries[position:]


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
async def hub(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    """Has looked once, and rests."""
    monkeypatch.setattr(Hub, "UNWATCHED_REST", 3600.0)
    hub = Hub(feed.read)
    task = asyncio.create_task(hub._run())
    hub.wake()
    await feed.looked.wait()
    await turns()
    yield hub
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_while_nobody_waits_what_moves_soon_is_read_in_one_go(hub: Hub, feed: Feed) -> None:
    looks = feed.looks
    for _ in range(5):
        feed.append()
        hub.wake()
        await turns()
    assert feed.looks == looks


async def test_whoever_comes_to_wait_ends_the_rest_and_is_told(hub: Hub, feed: Feed) -> None:
    seen: list[Moved] = []
    hub.on_event("generation.succeeded", seen.append)
    feed.append()
    hub.wake()
    with hub.listen(ORGANIZATION, SUBJECT) as waiter:
        assert await waiter.moved(30)
        for count in (2, 3):
            feed.append()
            hub.wake()
            assert await waiter.moved(30)
            assert len(seen) == count

"""What arrives while a call runs goes into the next one."""

import asyncio

import pytest

from runtime.batching import Batcher, Lines


class Doubling:
    """Answers twice what it is asked; keeps the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items) -> list[int]:
        self.batches.append(list(items))
        await self.gate.wait()
        if 13 in items:
            raise ValueError("unlucky")
        return [2 * item for item in items]


async def test_an_item_alone_does_not_wait_for_others() -> None:
    run = Doubling()
    assert await Batcher(run, largest=8)(1) == 2
    assert run.batches == [[1]]


async def test_what_arrives_during_a_call_goes_into_the_next_one_together() -> None:
    run = Doubling()
    run.gate.clear()
    batcher = Batcher(run, largest=8)
    first = asyncio.create_task(batcher(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(batcher(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    run.gate.set()
    assert [await task for task in (first, *others)] == [2, 4, 6, 8]
    assert run.batches == [[1], [2, 3, 4]]


async def test_who_comes_at_once_goes_alone_and_the_others_together_after_him() -> None:
    run = Doubling()
    run.gate.clear()
    batcher = Batcher(run, largest=8, at_once=True)
    tasks = [asyncio.create_task(batcher(number)) for number in (1, 2, 3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    run.gate.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6]
    assert run.batches == [[1], [2, 3]]
    assert batcher.idle


async def test_when_who_went_at_once_fails_or_is_cancelled_the_others_are_still_served() -> None:
    run = Doubling()
    batcher = Batcher(run, largest=8, at_once=True)
    unlucky, other = await asyncio.gather(batcher(13), batcher(2), return_exceptions=True)
    assert isinstance(unlucky, ValueError)
    assert other == 4
    run.gate.clear()
    gone, stays = asyncio.create_task(batcher(1)), asyncio.create_task(batcher(3))
    await asyncio.sleep(0)
    assert not batcher.idle
    gone.cancel()
    run.gate.set()
    assert await stays == 6


async def test_in_a_crowd_a_call_waits_for_others_to_come() -> None:
    run, crowd = Doubling(), [True]
    batcher = Batcher(run, largest=8, crowded=lambda: crowd[0], pause=0.05)
    first = asyncio.create_task(batcher(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await asyncio.gather(first, batcher(2)) == [2, 4]
    crowd[0] = False
    assert await batcher(3) == 6
    assert run.batches == [[1, 2], [3]]


async def test_a_full_call_waits_for_nobody() -> None:
    run = Doubling()
    batcher = Batcher(run, largest=2, crowded=lambda: True, pause=3600)
    assert await asyncio.gather(batcher(1), batcher(2)) == [2, 4]


async def test_a_batch_is_not_larger_than_it_may_be() -> None:
    run = Doubling()
    batcher = Batcher(run, largest=2)
    assert await asyncio.gather(*(batcher(number) for number in range(5))) == [0, 2, 4, 6, 8]
    assert max(len(batch) for batch in run.batches) == 2


async def test_an_error_is_everybodys_error_and_the_next_batch_goes_on() -> None:
    batcher = Batcher(Doubling(), largest=8)
    results = await asyncio.gather(batcher(1), batcher(13), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]
    assert await batcher(2) == 4


async def test_who_was_cancelled_does_not_disturb_the_others() -> None:
    run = Doubling()
    run.gate.clear()
    batcher = Batcher(run, largest=8)
    gone, stays = asyncio.create_task(batcher(1)), asyncio.create_task(batcher(2))
    await asyncio.sleep(0.01)
    gone.cancel()
    run.gate.set()
    assert await stays == 4
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_who_goes_ahead_waits_neither_for_company_nor_for_the_call_of_the_others() -> None:
    run, crowd = Doubling(), [False]
    lines = Lines(run, largest=8, crowded=lambda: crowd[0], pause=3600)
    run.gate.clear()
    first = asyncio.create_task(lines(1, ahead=False))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert run.batches == [[1]]
    run.gate.set()
    assert await lines(2, ahead=True) == 4
    crowd[0] = True
    waiting = asyncio.create_task(lines(3, ahead=False))
    assert await asyncio.gather(lines(4, ahead=True), lines(5, ahead=True)) == [8, 10]
    assert await first == 2
    assert run.batches == [[1], [2], [4, 5]]
    waiting.cancel()

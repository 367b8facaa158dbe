"""What costs something to find is found once for all who ask, and remembered for a while."""

import asyncio

import pytest

from runtime.remembered import Remembered


class Finding:
    """Answers how often it was asked; waits for `gate`."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> int:
        self.asked += 1
        await self.gate.wait()
        return self.asked


async def test_all_who_ask_meanwhile_and_soon_after_get_one_answer() -> None:
    find = Finding()
    remembered = Remembered(find, lambda _: 3600)
    asking = [asyncio.create_task(remembered()) for _ in range(20)]
    await asyncio.sleep(0)
    find.gate.set()
    assert await asyncio.gather(*asking) == [1] * 20
    assert await remembered() == 1


async def test_it_is_found_anew_when_its_time_is_over() -> None:
    find = Finding()
    find.gate.set()
    remembered = Remembered(find, lambda answer: 0 if answer < 3 else 3600)
    assert [await remembered() for _ in range(5)] == [1, 2, 3, 3, 3]


async def test_who_stops_waiting_stops_nobody_else() -> None:
    find = Finding()
    remembered = Remembered(find, lambda _: 0)
    first, second = asyncio.create_task(remembered()), asyncio.create_task(remembered())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    find.gate.set()
    assert await second == 1


async def test_an_error_is_not_remembered() -> None:
    answers = iter([ValueError("unlucky"), 7])

    async def find() -> int:
        if isinstance(answer := next(answers), ValueError):
            raise answer
        return answer

    remembered = Remembered(find, lambda _: 3600)
    with pytest.raises(ValueError, match="unlucky"):
        await remembered()
    assert [await remembered(), await remembered()] == [7, 7]

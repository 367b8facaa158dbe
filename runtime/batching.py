"""Natural batching: what arrives while a call runs goes into the next one. So who comes alone never waits, and batches
grow by themselves under load.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def _never() -> bool:
    return False


class Batcher(Generic[Item, Answer]):
    """`await batcher(item)`: one item's answer out of `run(items)`, which answers in the order of its items.

    An error of `run` is every one of its callers' error. Lives on one event loop. While it is `crowded`, a call that is
    not full is put off by `pause` seconds: for whoever has enough else to do, and would rather call less often.

    With `at_once`, who finds it idle makes the call himself, before anybody can join: it spares a task, and pays where
    most come alone.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        largest: int,
        crowded: Callable[[], bool] = _never,
        pause: float = 0,
        at_once: bool = False,
    ) -> None:
        self._run = run
        self._largest = largest
        self._crowded = crowded
        self._pause = pause
        self._at_once = at_once
        self._calling = False
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._runner: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Nothing runs and nobody waits."""
        return not self._waiting and not self._busy

    @property
    def _busy(self) -> bool:
        return self._calling or not (self._runner is None or self._runner.done())

    async def __call__(self, item: Item) -> Answer:
        if self._at_once and self.idle:
            return await self._call_alone(item)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if not self._busy:
            self._runner = asyncio.create_task(self._run_all())
        return await future

    async def _call_alone(self, item: Item) -> Answer:
        self._calling = True
        try:
            return (await self._run([item]))[0]
        finally:
            self._calling = False
            if self._waiting:
                self._runner = asyncio.create_task(self._run_all())

    async def _run_all(self) -> None:
        while self._waiting:
            if len(self._waiting) < self._largest and self._crowded():
                await asyncio.sleep(self._pause)
            batch, self._waiting = self._waiting[: self._largest], self._waiting[self._largest :]
            await self._run_batch(batch)

    async def _run_batch(self, batch: Sequence[tuple[Item, "asyncio.Future[Answer]"]]) -> None:
        try:
            answers = await self._run([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)


class Lines(Generic[Item, Answer]):
    """Two batchers for one call: in a crowd, who goes ahead waits neither for company nor for a call of the others."""

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        largest: int,
        crowded: Callable[[], bool],
        pause: float,
    ) -> None:
        self._crowded = crowded
        self._in_turn = Batcher(run, largest=largest, crowded=crowded, pause=pause)
        self._ahead = Batcher(run, largest=largest)

    async def __call__(self, item: Item, *, ahead: bool) -> Answer:
        return await (self._ahead if ahead and self._crowded() else self._in_turn)(item)

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
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        largest: int,
        crowded: Callable[[], bool] = _never,
        pause: float = 0,
    ) -> None:
        self._run = run
        self._largest = largest
        self._crowded = crowded
        self._pause = pause
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._runner: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Nothing runs and nobody waits."""
        return not self._waiting and (self._runner is None or self._runner.done())

    async def __call__(self, item: Item) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run_all())
        return await future

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

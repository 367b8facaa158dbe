"""An answer that anybody may ask for at any time, and that costs something to find."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Answer = TypeVar("Answer")


class Remembered(Generic[Answer]):
    """`await remembered()`: what `find` answers. It is asked once at a time, for all who ask meanwhile, and its answer
    is given for `seconds(answer)` more. Who stops waiting stops nobody else's answer. Lives on one event loop.
    """

    def __init__(self, find: Callable[[], Coroutine[Any, Any, Answer]], seconds: Callable[[Answer], float]) -> None:
        self._find = find
        self._seconds = seconds
        self._until = -math.inf
        self._finding: asyncio.Task[Answer] | None = None

    async def __call__(self) -> Answer:
        if self._finding is None or (self._finding.done() and time.monotonic() >= self._until):
            self._finding = asyncio.create_task(self._found())
        return await asyncio.shield(self._finding)

    async def _found(self) -> Answer:
        self._until = -math.inf
        answer = await self._find()
        self._until = time.monotonic() + self._seconds(answer)
        return answer

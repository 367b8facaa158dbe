"""A store that takes nothing: no image is drawn in vain while it is away."""

import time
from collections.abc import Awaitable
from datetime import timedelta
from typing import Final, TypeVar

from storage.base import ObjectStore
from storage.errors import StorageUnavailableError

SHORTEST_PAUSE: Final = timedelta(seconds=5)
LONGEST_PAUSE: Final = timedelta(minutes=1)

_Put = TypeVar("_Put")


class Outage:
    """What one process knows of it: it begins with a put that fails, and ends with one that succeeds."""

    def __init__(self) -> None:
        self._began: float | None = None

    async def probe(self, store: ObjectStore) -> None:
        """Asks the store whether it works, but only when the last put failed. Raises StorageUnavailableError."""
        if self._began is not None:
            await store.check()

    async def watch(self, put: Awaitable[_Put]) -> _Put:
        """Raises what the put raises."""
        try:
            done = await put
        except StorageUnavailableError:
            self._began = self._began or time.monotonic()
            raise
        self._began = None
        return done

    def pause(self) -> timedelta:
        """Until the next try: half as long as the store has been away, within bounds."""
        away = 0.0 if self._began is None else time.monotonic() - self._began
        return min(max(timedelta(seconds=away / 2), SHORTEST_PAUSE), LONGEST_PAUSE)

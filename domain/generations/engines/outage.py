"""A store that takes nothing, a disk that is full: no image is drawn in vain meanwhile, and nobody's try is counted."""

import errno
import tempfile
import time
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

from storage.base import ObjectStore
from storage.errors import StorageUnavailableError

SHORTEST_PAUSE: Final = timedelta(seconds=5)
LONGEST_PAUSE: Final = timedelta(minutes=1)

_PROBE: Final = bytes(256 * 1024)
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_Put = TypeVar("_Put")


def is_full(folder: Path) -> bool:
    """Whether a file of some size can't be written there now, for want of space. Blocks."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(_PROBE)
    except OSError as error:
        return error.errno in _FULL
    return False


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

"""Time-outs of what nearly always is there at once."""

import asyncio
import time
from typing import Final

STEP: Final = 0.5
"""Seconds between two looks: how late a time-out may be."""


class Patience:
    """One timer for all: the event loop's own for each request would cost it a fiftieth of its CPU."""

    def __init__(self) -> None:
        self._deadlines: dict[asyncio.Timeout, float] = {}
        self._looking = False

    def watch(self, limit: asyncio.Timeout, seconds: float) -> None:
        """Lets `limit`, which was entered without an end, expire after so long, unless it is forgotten before."""
        self._deadlines[limit] = time.monotonic() + seconds
        if not self._looking:
            self._look_later()

    def forget(self, limit: asyncio.Timeout) -> None:
        self._deadlines.pop(limit, None)

    def _look_later(self) -> None:
        self._looking = True
        asyncio.get_running_loop().call_later(STEP, self._look)

    def _look(self) -> None:
        self._looking = False
        now = time.monotonic()
        for limit in [limit for limit, deadline in self._deadlines.items() if deadline <= now]:
            del self._deadlines[limit]
            limit.reschedule(asyncio.get_running_loop().time())
        if self._deadlines:
            self._look_later()

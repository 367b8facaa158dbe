"""Who was here a moment ago."""

import math
import time
from collections.abc import Callable


class Lately:
    """Remembers for `seconds`, and for twice as long at most: two sets that take turns are all it keeps."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._turned = -math.inf
        self._now: set[str] = set()
        self._before: set[str] = set()

    def __contains__(self, who: str) -> bool:
        self._turn()
        return who in self._now or who in self._before

    def note(self, who: str) -> None:
        self._turn()
        self._now.add(who)

    def _turn(self) -> None:
        now = self._clock()
        if now - self._turned >= self._seconds:
            self._before = self._now if now - self._turned < 2 * self._seconds else set()
            self._now, self._turned = set(), now

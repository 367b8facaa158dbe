"""How many requests a key may make: a token bucket for each, in this process's memory.

Redis may be away, so it is not asked; with several API processes each has buckets of its own, and the limit is that
much higher. It keeps one customer from crowding out the others, and is no accounting.
"""

import math
import time
from collections.abc import Callable
from typing import Final

import msgspec

WINDOW: Final = 60
"""Seconds in which a bucket fills up."""
PER_WINDOW: Final = {"free": 3_000, "pro": 30_000, "scale": 600_000}
"""By plan: requests in a window, all at once if need be."""
DEFAULT: Final = 3_000
MOST_BUCKETS: Final = 50_000


class Verdict(msgspec.Struct, frozen=True):
    """`remaining` is -1 for a request that is refused; `wait` is how many seconds until the next one may come."""

    limit: int
    remaining: int
    wait: int

    @property
    def allowed(self) -> bool:
        return self.remaining >= 0

    def headers(self) -> list[tuple[bytes, bytes]]:
        """draft-ietf-httpapi-ratelimit-headers-10."""
        remaining = max(0, self.remaining)
        full = math.ceil((self.limit - remaining) * WINDOW / self.limit)
        return [
            (b"ratelimit-policy", b'"default";q=%d;w=%d' % (self.limit, WINDOW)),
            (b"ratelimit", b'"default";r=%d;t=%d' % (remaining, full)),
        ]


class RateLimits:
    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key_id: str, plan: str) -> Verdict:
        limit = PER_WINDOW.get(plan, DEFAULT)
        now = self._seconds()
        tokens, since = self._buckets.get(key_id) or self._new(limit, now)
        tokens = min(limit, tokens + (now - since) * limit / WINDOW)
        if tokens < 1:
            self._buckets[key_id] = (tokens, now)
            return Verdict(limit, -1, math.ceil((1 - tokens) * WINDOW / limit))
        self._buckets[key_id] = (tokens - 1, now)
        return Verdict(limit, int(tokens - 1), 0)

    def _new(self, limit: int, now: float) -> tuple[float, float]:
        """A bucket that nobody touched for a window is full again, and a full one need not be kept."""
        if len(self._buckets) >= MOST_BUCKETS:
            self._buckets = {key: bucket for key, bucket in self._buckets.items() if now - bucket[1] < WINDOW}
        return float(limit), now

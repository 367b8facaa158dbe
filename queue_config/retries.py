"""Named retry policies: how long a failed task waits before its next try, and when it is dead."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`delays` after the first, second, … failed try; the last one repeats. `jitter` 0.2 spreads each by ±20 %."""

    name: str
    delays: tuple[timedelta, ...]
    max_attempts: int
    jitter: float = 0.2

    def next(self, attempts: int, key: str) -> timedelta | None:
        """How long to wait after `attempts` failed tries (1 or more); None when the task is dead. The jitter comes
        from `key` (the task's id), so that the same question has the same answer in any process.
        """
        if attempts >= self.max_attempts:
            return None
        delay = self.delays[min(attempts, len(self.delays)) - 1]
        return delay * (1 + self.jitter * _spread(f"{key}/{attempts}"))


def _spread(key: str) -> float:
    """-1 to 1, evenly."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest()) / (0xFFFF_FFFF / 2) - 1


def _seconds(*values: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=value) for value in values)


STANDARD: Final = RetryPolicy("standard", _seconds(1, 5, 30, 120, 600), max_attempts=6)
# Only for a try that broke before the domain could name the next one: the schedule of deliveries is the domain's.
WEBHOOK: Final = RetryPolicy("webhook", _seconds(5, 60, 300), max_attempts=10)

BY_NAME: Final = {policy.name: policy for policy in (STANDARD, WEBHOOK)}

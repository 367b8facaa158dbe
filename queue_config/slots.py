"""How many messages of a queue a worker holds at once, running ones included."""

import threading
from typing import Final, Literal

GROWTH: Final = 8
"""A worker that finds its messages quick comes to hold so many times as many as it began with."""

Slot = Literal["any", "ahead"]
"""Which messages may take it."""


class Slots:
    """`seconds` 0: always `most`. Else from `least` up to `most`, as many as are dealt with in so many seconds: whoever
    holds many shares statements among them, and whoever holds what takes long keeps it from workers that are free.
    One by one, up while a message is quick and all slots are taken, down while one is not.

    `beyond`: so many more for messages that go ahead, while it holds more than `least`: those are dealt with soon, and
    whoever holds no more than that may have nothing but slow ones, which he must not be made to wait for.
    """

    def __init__(self, least: int, most: int, seconds: float = 0, *, beyond: int = 0) -> None:
        self.size = least if seconds else most
        self._least, self._most, self._seconds, self._beyond = least, most, seconds, beyond
        self._used = 0
        self._changed = threading.Condition()

    def acquire(self, timeout: float) -> Slot | None:
        """Waits for so many seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._used < self._room, timeout):
                return None
            self._used += 1
            return "any" if self._used <= self.size else "ahead"

    @property
    def _room(self) -> int:
        return self.size + (self._beyond if self.size > self._least else 0)

    def release(self, held: float | None = None) -> None:
        """`held`: for how many seconds it had a message that was dealt with."""
        with self._changed:
            if self._seconds and held is not None:
                self._adapt(held)
            self._used -= 1
            self._changed.notify_all()

    def _adapt(self, held: float) -> None:
        if held > self._seconds:
            self.size = max(self._least, self.size - 1)
        elif self._used >= self.size:
            self.size = min(self._most, self.size + 1)

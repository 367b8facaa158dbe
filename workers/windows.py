"""How many tasks of a queue may be on their way to a worker: few, so that what comes next is decided late."""

import time
from collections.abc import Callable
from typing import Final

from queue_config.queues import Queue

LEAST: Final = 8
"""More than one worker that dies can take along, so that the others need not wait until its messages are missed."""
MEASURED_SECONDS: Final = 0.25


class Window:
    """Where the queue names a `wait`, the window follows the rate (Little's law): as many tasks as its workers take up
    in that time. A fixed one would be too small for fifty workers, and a long wait behind others for two slow ones.

    Where workers take up everything before the relay comes back with more, the window is what keeps them from working,
    and it doubles.
    """

    def __init__(self, queue: Queue, seconds: Callable[[], float] = time.monotonic) -> None:
        self.queue = queue
        self.size = LEAST if queue.wait else queue.window
        self.full = False
        """After the last step: no more of its tasks could have been sent."""
        self._seconds = seconds
        self._begin(seconds())

    def note(self, sent: int, waiting: int) -> None:
        """A step has sent so many, while so many were still waiting to be taken up."""
        was_full, self.full = self.full, sent + waiting >= self.size
        if not self.queue.wait:
            return
        self._sent += sent
        if sent and was_full:
            self._refilled += 1
            self._hungry += waiting == 0
        now = self._seconds()
        if now - self._since >= MEASURED_SECONDS:
            self.size = max(LEAST, min(self.queue.window, self._wanted(now - self._since)))
            self._begin(now)

    def _wanted(self, elapsed: float) -> int:
        if 2 * self._hungry > self._refilled:
            return 2 * self.size
        return round(self._sent / elapsed * self.queue.wait)

    def _begin(self, now: float) -> None:
        self._since = now
        self._sent = self._refilled = self._hungry = 0

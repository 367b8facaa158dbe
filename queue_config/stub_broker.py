"""Messages in this process's memory: for tests, and for a set-up of one process without Redis."""

import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

import dramatiq

from queue_config.base import MessageBroker, Messages, Taken
from queue_config.queues import QUEUES, Queue
from runtime.settings import Settings


def build(_settings: Settings, middleware: Iterable[dramatiq.Middleware]) -> "StubBroker":
    return StubBroker(QUEUES, middleware)


class StubBroker(MessageBroker):
    def __init__(self, table: Iterable[Queue], middleware: Iterable[dramatiq.Middleware] = ()) -> None:
        self._lists: defaultdict[str, deque[bytes]] = defaultdict(deque)
        self._changed = threading.Condition()
        super().__init__(table, middleware)

    def push(self, messages: Messages, *, ahead: bool = False) -> None:  # noqa: ARG002 in the order of their sending
        with self._changed:
            for queue_name, encoded in messages.items():
                self._lists[queue_name].extend(encoded)
            self._changed.notify_all()

    def check(self) -> None:
        """Memory is always there."""

    def put_back(self, queue_name: str, encoded: Sequence[bytes]) -> None:
        with self._changed:
            self._lists[queue_name].extendleft(reversed(encoded))
            self._changed.notify_all()

    def pop(self, queue_name: str, timeout: float) -> bytes | None:
        with self._changed:
            messages = self._lists[queue_name]
            return messages.popleft() if self._changed.wait_for(lambda: messages, timeout) else None

    def reader(self, queue_name: str, prefetch: int, timeout: float) -> "StubReader":  # noqa: ARG002 nothing is sent ahead
        return StubReader(self, queue_name, timeout)

    def flush(self, queue_name: str) -> None:
        with self._changed:
            self._lists[queue_name].clear()


class StubReader:
    def __init__(self, broker: StubBroker, queue_name: str, timeout: float) -> None:
        self._broker = broker
        self._queue_name = queue_name
        self._timeout = timeout

    def pop(self) -> Taken | None:
        data = self._broker.pop(self._queue_name, self._timeout)
        return Taken(data) if data is not None else None

    def pop_ahead(self) -> Taken | None:
        """There is no such line here."""
        return None

    def settle(self, taken: Taken) -> None:
        """It left the list when it was taken."""

    def put_back(self, taken: Sequence[Taken]) -> None:
        self._broker.put_back(self._queue_name, [message.data for message in taken])

    def close(self) -> None:
        """Holds nothing."""

"""Messages in this process's memory: for tests, and for a set-up of one process without Redis."""

import threading
from collections import defaultdict, deque
from collections.abc import Iterable

import dramatiq

from queue_config.list_broker import ListBroker, Messages
from queue_config.queues import Queue


class StubBroker(ListBroker):
    def __init__(self, table: Iterable[Queue], middleware: Iterable[dramatiq.Middleware] = ()) -> None:
        self._lists: defaultdict[str, deque[bytes]] = defaultdict(deque)
        self._changed = threading.Condition()
        super().__init__(table, middleware)

    def push(self, messages: Messages, *, front: bool = False) -> None:
        with self._changed:
            for queue_name, encoded in messages.items():
                if front:
                    self._lists[queue_name].extendleft(reversed(encoded))
                else:
                    self._lists[queue_name].extend(encoded)
            self._changed.notify_all()

    def pop(self, queue_name: str, timeout: float) -> bytes | None:
        with self._changed:
            messages = self._lists[queue_name]
            return messages.popleft() if self._changed.wait_for(lambda: messages, timeout) else None

    def reader(self, queue_name: str, timeout: float) -> "StubReader":
        return StubReader(self, queue_name, timeout)

    def flush(self, queue_name: str) -> None:
        with self._changed:
            self._lists[queue_name].clear()

    def flush_all(self) -> None:
        for queue_name in self.queues:
            self.flush(queue_name)


class StubReader:
    def __init__(self, broker: StubBroker, queue_name: str, timeout: float) -> None:
        self._broker = broker
        self._queue_name = queue_name
        self._timeout = timeout

    def pop(self) -> bytes | None:
        return self._broker.pop(self._queue_name, self._timeout)

    def close(self) -> None:
        """Holds nothing."""

"""What all brokers share: messages are bytes on one queue each, and nothing but wake-ups.

There are no delays, retries, heartbeats or dead letters here. Whatever becomes of a message, the ledger finds its tasks
unclaimed and sends them again.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import dramatiq
import dramatiq.errors
from dramatiq.broker import Consumer, MessageProxy

from queue_config.errors import DelayNotSupportedError
from queue_config.queues import Queue
from queue_config.slots import GROWTH, Slots
from runtime.telemetry import logs, metrics

log = logs.logger(__name__)

messages_sent = metrics.counter(
    "atelier_messages_sent_total", "Messages given to the broker by this process", ["queue"]
)
messages_taken = metrics.counter(
    "atelier_messages_taken_total", "Messages taken from the broker by this process", ["queue"]
)
failures = metrics.counter("atelier_broker_failures_total", "Times that the broker failed this process", ["doing"])

AHEAD: Final[dict[str, Any]] = {"ahead": True}
IN_TURN: Final[dict[str, Any]] = {}
"""Options of a message: whether it may pass those that wait already, where the broker can do that."""

Messages = Mapping[str, Sequence[bytes]]
"""Encoded messages by the name of their queue."""


class Taken(NamedTuple):
    """A message as it was taken; `receipt` is what its reader knows it by."""

    data: bytes
    receipt: Any = None


class Reader(Protocol):
    """One consumer's way to its queue. None of it raises because the broker is away."""

    def pop(self) -> Taken | None:
        """The oldest message, or None when there was none for the reader's time-out. A reader that cannot reach its
        queue waits no longer than that and tries again at the next call. Used by one thread only.
        """

    def pop_ahead(self) -> Taken | None:
        """As `pop`, of those that go ahead alone, and with less patience: meanwhile others may be welcome too."""

    def settle(self, taken: Taken) -> None:
        """The message has been dealt with, whatever came of it; from any thread."""

    def put_back(self, taken: Sequence[Taken]) -> None:
        """To the head of the queue, in this order; from any thread. Nothing more will be taken."""

    def close(self) -> None: ...


class MessageBroker(dramatiq.Broker):
    """Declares the queues of `table` at once, so that a relay can send to them without loading any actor."""

    one_by_one = True
    """A reader has no message before it is asked for one. Else it must hold few, for nobody else gets those."""
    passing = False
    """A message that goes ahead can be taken past all that wait."""

    def __init__(self, table: Iterable[Queue], middleware: Iterable[dramatiq.Middleware] = ()) -> None:
        super().__init__(middleware=list(middleware))
        self._table = {queue.name: queue for queue in table}
        for name in self._table:
            self.declare_queue(name)

    def push(self, messages: Messages, *, ahead: bool = False) -> None:
        """`ahead`: taken before all that are not. Raises BrokerUnavailableError, after about a second at most."""
        raise NotImplementedError

    def check(self) -> None:
        """Raises BrokerUnavailableError when it cannot be reached now. Blocks, for about a second at most."""
        raise NotImplementedError

    def reader(self, queue_name: str, prefetch: int, timeout: float) -> Reader:
        """`timeout` is in seconds; no more than `prefetch` messages will be held, running ones included."""
        raise NotImplementedError

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        if delay is not None:
            raise DelayNotSupportedError(f"{message.actor_name}: a message cannot be delayed; give its task a run_at")
        self.enqueue_many([message])
        return message

    def enqueue_many(self, messages: Sequence[dramatiq.Message[Any]]) -> None:
        """Sends all in one go. Blocks, for about a second at most: from an event loop, call it in a thread.
        Raises QueueNotFound (then nothing was sent) or BrokerUnavailableError (then some may have been).
        """
        by_queue: dict[str, list[bytes]] = {}
        hurried: dict[str, list[bytes]] = {}
        for message in messages:
            if message.queue_name not in self.queues:
                raise dramatiq.errors.QueueNotFound(message.queue_name)
            self.emit_before("enqueue", message, None)
            chosen = hurried if message.options == AHEAD else by_queue
            chosen.setdefault(message.queue_name, []).append(message.encode())
        if hurried:
            self.push(hurried, ahead=True)
        if by_queue:
            self.push(by_queue)
        for message in messages:
            messages_sent.labels(message.queue_name).inc()
            self.emit_after("enqueue", message, None)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 1000) -> Consumer:
        """`timeout` is in milliseconds."""
        if queue_name not in self.queues:
            raise dramatiq.errors.QueueNotFound(queue_name)
        slots, seconds = self._slots(self._table.get(queue_name), prefetch), timeout / 1000
        return QueueConsumer(self.reader(queue_name, slots.size, seconds), queue_name, slots, seconds)

    def _slots(self, queue: Queue | None, prefetch: int) -> Slots:
        most = max(1, int(prefetch * (queue.share if queue else 1)))
        if queue is None or not queue.hold:
            return Slots(most, most)
        least = max(1, most // GROWTH)
        if not self.one_by_one:
            return Slots(least, least)
        beyond = min(least, most - least) if self.passing else 0
        return Slots(least, most - beyond, queue.hold, beyond=beyond)

    def flush_all(self) -> None:
        for queue_name in self.queues:
            self.flush(queue_name)


class HeldMessage(MessageProxy):
    """`since`: when it was taken, by the monotonic clock."""

    def __init__(self, message: dramatiq.Message[Any], taken: Taken, since: float) -> None:
        super().__init__(message)
        self.taken = taken
        self.since = since


class QueueConsumer(Consumer):
    def __init__(self, reader: Reader, queue_name: str, slots: Slots, timeout: float) -> None:
        self._reader = reader
        self._counted = messages_taken.labels(queue_name)
        self._slots = slots
        self._timeout = timeout

    def __next__(self) -> HeldMessage | None:
        slot = self._slots.acquire(self._timeout)
        if slot is None:
            return None
        message = self._read(self._reader.pop if slot == "any" else self._reader.pop_ahead)
        if message is None:
            self._slots.release()
        return message

    def _read(self, pop: Callable[[], Taken | None]) -> HeldMessage | None:
        taken = pop()
        if taken is None:
            return None
        self._counted.inc()
        try:
            return HeldMessage(dramatiq.Message.decode(taken.data), taken, time.monotonic())
        except dramatiq.errors.DecodeError:
            log.exception("dropped what is not a message", bytes=len(taken.data))
            self._reader.settle(taken)
            return None

    def ack(self, message: MessageProxy) -> None:
        self._reader.settle(message.taken)
        self._slots.release(time.monotonic() - message.since)

    def nack(self, message: MessageProxy) -> None:
        self.ack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Puts messages that were not begun back at the head of their queue, and takes no more."""
        held = [message.taken for message in messages]
        self._reader.put_back(held)
        for _ in held:
            self._slots.release()

    def close(self) -> None:
        self._reader.close()

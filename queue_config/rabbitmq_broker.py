"""Messages on RabbitMQ: quorum queues, publisher confirms, acknowledged when they have been dealt with."""

import contextlib
import os
import queue
from collections.abc import Iterable, Sequence
from typing import Final

import dramatiq
import pika

from queue_config import base
from queue_config.base import MessageBroker, Messages, Taken
from queue_config.errors import BrokerUnavailableError
from queue_config.queues import QUEUES, Queue
from queue_config.rabbitmq_link import Link
from queue_config.rabbitmq_session import Session, Subscription
from runtime.settings import Settings, SettingsError

CONNECT_TIMEOUT: Final = 3.0
HEARTBEAT: Final = 10
"""Seconds. Who falls silent is given up after one and a half of them here, and after two by RabbitMQ."""


def build(settings: Settings, middleware: Iterable[dramatiq.Middleware]) -> "RabbitmqBroker":
    if not settings.rabbitmq_url:
        raise SettingsError("ATELIER_RABBITMQ_URL is missing: messages travel over RabbitMQ")
    return RabbitmqBroker(settings.rabbitmq_url, QUEUES, middleware)


class RabbitmqBroker(MessageBroker):
    """Needs RabbitMQ 3.10 or newer. `url`: `amqp://` or `amqps://`. Raises SettingsError."""

    one_by_one = False

    def __init__(self, url: str, table: Iterable[Queue], middleware: Iterable[dramatiq.Middleware] = ()) -> None:
        super().__init__(table, middleware)
        self._link = Link(_parameters(url), list(self.queues))

    def push(self, messages: Messages, *, ahead: bool = False) -> None:  # noqa: ARG002 before RabbitMQ 4 quorum queues have no priorities
        try:
            self._link.call(lambda session: session.publish(messages))
        except BrokerUnavailableError:
            base.failures.labels("send").inc()
            raise

    def reader(self, queue_name: str, prefetch: int, timeout: float) -> "RabbitmqReader":
        return RabbitmqReader(self._link, queue_name, prefetch, timeout)

    def flush(self, queue_name: str) -> None:
        self._link.call(lambda session: session.purge(queue_name))

    def delete_queues(self) -> None:
        """As if RabbitMQ had lost them: whoever takes from them or sends to them declares them anew."""
        self._link.call(lambda session: session.delete(self.queues))

    def check(self) -> None:
        self.server_version()

    def server_version(self) -> tuple[int, ...]:
        """Raises BrokerUnavailableError."""

        async def version(session: Session) -> tuple[int, ...]:
            return session.server_version

        return self._link.call(version)

    def close(self) -> None:
        self._link.close()


class RabbitmqReader:
    """RabbitMQ keeps a message until it has been dealt with: should this process die, another one gets it."""

    def __init__(self, link: Link, queue_name: str, prefetch: int, timeout: float) -> None:
        self._link = link
        self._queue_name = queue_name
        self._prefetch = prefetch
        self._timeout = timeout
        self._inbox: queue.SimpleQueue[Taken] = queue.SimpleQueue()
        self._session: Session | None = None
        self._subscription: Subscription | None = None
        with contextlib.suppress(BrokerUnavailableError):
            link.join(self._subscribe)

    def pop(self) -> Taken | None:
        try:
            return self._inbox.get(timeout=self._timeout)
        except queue.Empty:
            return None

    def pop_ahead(self) -> Taken | None:
        """There is no such line here."""
        return None

    def settle(self, taken: Taken) -> None:
        self._link.soon(taken.receipt.ack)

    def put_back(self, taken: Sequence[Taken]) -> None:
        self._link.leave(self._subscribe)
        self._link.soon(lambda: self._put_back(taken))

    def close(self) -> None:
        self._link.leave(self._subscribe)
        if (subscription := self._subscription) is not None and subscription.is_open:
            with contextlib.suppress(BrokerUnavailableError):
                self._link.call(lambda _: subscription.close())

    async def _subscribe(self, session: Session) -> None:
        if self._session is not session:
            self._session = session
            self._empty()  # what an earlier session delivered and nobody took is delivered anew
            self._subscription = await session.subscribe(self._queue_name, self._prefetch, self._inbox.put)

    def _put_back(self, taken: Sequence[Taken]) -> None:
        if self._subscription is not None:
            self._subscription.cancel()  # or it would all come here again
        for message in (*taken, *self._empty()):
            message.receipt.give_back()

    def _empty(self) -> list[Taken]:
        left = []
        with contextlib.suppress(queue.Empty):
            while True:
                left.append(self._inbox.get_nowait())
        return left


def _parameters(url: str) -> pika.URLParameters:
    try:
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError):  # whose texts quote parts of it
        raise SettingsError(
            "ATELIER_RABBITMQ_URL cannot be read: amqp://user:password@host:port/virtual-host"
        ) from None
    parameters.heartbeat = HEARTBEAT
    parameters.connection_attempts = 1
    parameters.socket_timeout = CONNECT_TIMEOUT
    parameters.stack_timeout = CONNECT_TIMEOUT
    parameters.client_properties = {"connection_name": f"atelier/{os.getpid()}"}
    return parameters

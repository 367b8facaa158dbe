"""One life of the connection to RabbitMQ: pika's callbacks, awaited. Whatever breaks in it ends it."""

import asyncio
import itertools
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, Self

import pika
import pika.exceptions
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from queue_config.base import Messages, Taken
from queue_config.errors import BrokerUnavailableError

FAULTS: Final = (pika.exceptions.AMQPError, AMQPConnectorException, OSError, TimeoutError, BrokerUnavailableError)

PREFIX: Final = "atelier."
MESSAGE_LIFE: Final = 60.0
"""Seconds. A message that nobody takes is sent again by the ledger every few seconds, so that an old one only makes the
queue longer.
"""
DELIVERY_LIMIT: Final = 20
"""How often a message may come back from workers that went away. With a limit it comes back to the queue's head."""
_QUEUE: Final = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}
_PROPERTIES: Final = pika.BasicProperties(delivery_mode=2, expiration=str(round(MESSAGE_LIFE * 1000)))
_CLOSE_TIMEOUT: Final = 0.5

logging.getLogger("pika").setLevel(logging.CRITICAL)
"""Otherwise it writes five lines for each try to connect; what there is to say is in the errors here."""


class Receipt(NamedTuple):
    """What RabbitMQ knows a delivery by: it may only be answered on the channel on which it came."""

    channel: Any
    tag: int

    def ack(self) -> None:
        if self.channel.is_open:
            self.channel.basic_ack(self.tag)

    def give_back(self) -> None:
        if self.channel.is_open:
            self.channel.basic_nack(self.tag, requeue=True)


class Subscription:
    """What one reader takes from one queue."""

    def __init__(self, channel: Any, consumer: str) -> None:
        self._channel = channel
        self._consumer = consumer

    @property
    def is_open(self) -> bool:
        return bool(self._channel.is_open)

    def cancel(self) -> None:
        """Nothing more is delivered; what was, can still be answered."""
        if self._channel.is_open:
            self._channel.basic_cancel(self._consumer)

    async def close(self) -> None:
        """Whatever was not answered is at the head of its queue again."""
        if self._channel.is_open:
            closed = asyncio.get_running_loop().create_future()
            self._channel.add_on_close_callback(partial(_resolve, closed))
            self._channel.close()
            await closed


@dataclass(eq=False)
class _Batch:
    """Messages that were sent together. `done`: whether RabbitMQ has all of them."""

    unconfirmed: int
    done: asyncio.Future[bool]
    refused: bool = False

    def confirm(self, *, refused: bool) -> None:
        self.refused |= refused
        self.unconfirmed -= 1
        if not self.unconfirmed:
            _resolve(self.done, not self.refused)


class Session:
    """From `open` until `ended`, whose result says why. Used on one event loop."""

    def __init__(self, connection: Any) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sender: Any = None
        self._sent = 0
        self._unconfirmed: dict[int, _Batch] = {}
        connection.add_on_close_callback(self._on_closed)

    @classmethod
    async def open(cls, parameters: pika.URLParameters, queue_names: Iterable[str]) -> Self:
        """Declares the queues. Raises one of FAULTS, within the parameters' time-outs."""
        session = cls(await _connect(parameters))
        try:
            session._sender = sender = await session._open_channel()
            sender.add_on_return_callback(lambda *_: session.end("a queue was deleted"))
            await session._ask(sender.confirm_delivery, session._on_confirmed)
            for name in queue_names:
                await session._ask(sender.queue_declare, PREFIX + name, durable=True, arguments=_QUEUE)
        except BaseException:
            await session.close()
            raise
        return session

    def check(self) -> None:
        """Raises BrokerUnavailableError when it has ended."""
        if self.ended.done():
            raise BrokerUnavailableError(f"RabbitMQ is away: {self.ended.result()}")

    def end(self, reason: str) -> None:
        _resolve(self.ended, reason)

    async def close(self) -> None:
        """A server that does not answer is waited for no longer than half a second."""
        self.end("closed")
        if self._connection.is_open:
            self._connection.close()
        await asyncio.wait((self._closed,), timeout=_CLOSE_TIMEOUT)

    async def publish(self, messages: Messages) -> None:
        """Returns when RabbitMQ has written them all. Raises one of FAULTS."""
        count = sum(map(len, messages.values()))
        if not count:
            return
        batch = _Batch(count, asyncio.get_running_loop().create_future())
        for queue_name, encoded in messages.items():
            for body in encoded:
                self._sent += 1
                self._unconfirmed[self._sent] = batch
                self._sender.basic_publish("", PREFIX + queue_name, body, _PROPERTIES, mandatory=True)
        if not await self._or_end(batch.done):
            raise BrokerUnavailableError("RabbitMQ refused messages")

    async def subscribe(self, queue_name: str, prefetch: int, take: Callable[[Taken], None]) -> Subscription:
        """No more than `prefetch` unanswered messages are delivered."""

        def on_message(channel: Any, method: Any, _properties: Any, body: bytes) -> None:
            take(Taken(body, Receipt(channel, method.delivery_tag)))

        channel = await self._open_channel()
        channel.add_on_cancel_callback(lambda _: self.end("a queue was deleted"))
        await self._ask(channel.basic_qos, prefetch_count=prefetch)
        answer = await self._ask(channel.basic_consume, PREFIX + queue_name, on_message)
        return Subscription(channel, answer.method.consumer_tag)

    async def purge(self, queue_name: str) -> None:
        await self._ask(self._sender.queue_purge, PREFIX + queue_name)

    async def delete(self, queue_names: Iterable[str]) -> None:
        for name in queue_names:
            await self._ask(self._sender.queue_delete, PREFIX + name)

    @property
    def server_version(self) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", self._connection.server_properties["version"])[:3])

    async def _open_channel(self) -> Any:
        opened = asyncio.get_running_loop().create_future()
        self._connection.channel(on_open_callback=partial(_resolve, opened)).add_on_close_callback(
            self._on_channel_closed
        )
        return await self._or_end(opened)

    async def _ask(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        answered = asyncio.get_running_loop().create_future()
        method(*arguments, callback=partial(_resolve, answered), **options)
        return await self._or_end(answered)

    async def _or_end(self, answer: asyncio.Future[Any]) -> Any:
        await asyncio.wait((answer, self.ended), return_when=asyncio.FIRST_COMPLETED)
        self.check()  # first: a message that no queue takes is returned, and confirmed all the same
        return answer.result()

    def _on_confirmed(self, frame: Any) -> None:
        answer = frame.method
        known = [answer.delivery_tag]
        if answer.multiple:
            known = list(itertools.takewhile(lambda tag: tag <= answer.delivery_tag, self._unconfirmed))
        for tag in known:
            self._unconfirmed.pop(tag).confirm(refused=isinstance(answer, pika.spec.Basic.Nack))

    def _on_channel_closed(self, _channel: Any, reason: Exception) -> None:
        if not isinstance(reason, pika.exceptions.ChannelClosedByClient):
            self.end(_said(reason))

    def _on_closed(self, _connection: Any, reason: BaseException) -> None:
        self.end(_said(reason))
        _resolve(self._closed, None)


async def _connect(parameters: pika.URLParameters) -> Any:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    attempt = AsyncioConnection.create_connection([parameters], on_done=partial(_resolve, done), custom_ioloop=loop)
    try:
        connection = await asyncio.shield(done)
    except asyncio.CancelledError:
        if not done.done():
            attempt.abort()
            await done
        raise
    if isinstance(connection, BaseException):
        raise BrokerUnavailableError(f"RabbitMQ is away: {_said(_cause(connection))}") from connection
    return connection


def _cause(error: BaseException) -> BaseException:
    """What pika has wrapped."""
    while inner := getattr(error, "exceptions", None) or getattr(error, "exception", None):
        error = inner[-1] if isinstance(inner, tuple) else inner
    return error


def _said(reason: BaseException) -> str:
    """RabbitMQ's own words where there are some."""
    return getattr(reason, "reply_text", "") or type(reason).__name__


def _resolve(future: asyncio.Future[Any], *answer: Any) -> None:
    """With the last of what a callback was given; who asked may have gone away."""
    if not future.done():
        future.set_result(answer[-1])

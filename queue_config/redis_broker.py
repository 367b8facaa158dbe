"""Messages on Redis lists: RPUSH to send, BLPOP to wait, so that an idle worker neither polls nor is late. Each queue
has two lists, and the one of the messages that go ahead is taken from first.
"""

import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Any

import dramatiq
import redis
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from queue_config import base
from queue_config.base import MessageBroker, Messages, Taken
from queue_config.errors import BrokerUnavailableError
from queue_config.queues import QUEUES, Queue
from runtime.settings import Settings, SettingsError
from runtime.telemetry import logs

log = logs.logger(__name__)

CONNECT_TIMEOUT = 0.4
ANSWER_TIMEOUT = 0.5
RECONNECT_WAIT = 0.25
KEY_PREFIX = "atelier:queue:"
GLANCE = 0.02
"""Seconds for which a reader that holds all it may waits for a message that goes ahead, before it looks whether it may
take others again: short for who has a fifth of a second of work at hand, and no poll, for it is woken at once.
"""
LONGEST = 10_000
"""Messages that a queue holds at most, the newest. While nobody takes them, the ledger sends each task's anew every few
seconds; any one may be lost without harm.
"""


def build(settings: Settings, middleware: Iterable[dramatiq.Middleware]) -> "RedisBroker":
    if not settings.redis_url:
        raise SettingsError("ATELIER_REDIS_URL is missing: messages travel over Redis")
    return RedisBroker(settings.redis_url, QUEUES, middleware)


class RedisBroker(MessageBroker):
    """Needs nothing newer than Redis 6.0. `url`: `redis://`, `rediss://` or `unix://`."""

    passing = True

    def __init__(self, url: str, table: Iterable[Queue], middleware: Iterable[dramatiq.Middleware] = ()) -> None:
        self._url = url
        self._client = _client(url, ANSWER_TIMEOUT)
        super().__init__(table, middleware)

    def push(self, messages: Messages, *, ahead: bool = False) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for queue_name, encoded in messages.items():
            key = _ahead(queue_name) if ahead else _key(queue_name)
            pipeline.rpush(key, *encoded)
            pipeline.ltrim(key, -LONGEST, -1)
        self._execute(pipeline)

    def put_back(self, queue_name: str, encoded: Sequence[bytes]) -> None:
        """Raises BrokerUnavailableError."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.lpush(_key(queue_name), *reversed(encoded))
        self._execute(pipeline)

    def check(self) -> None:
        try:
            self._client.ping()
        except (redis.RedisError, OSError) as error:
            raise BrokerUnavailableError(f"Redis is away: {type(error).__name__}") from error

    def _execute(self, pipeline: redis.client.Pipeline) -> None:
        try:
            pipeline.execute()
        # TimeoutError, ReadOnlyError and their like are no redis.ConnectionError; a failed connect may be an OSError
        except (redis.RedisError, OSError) as error:
            # the next try connects anew, perhaps to another server; other threads' sends go on undisturbed
            self._client.connection_pool.disconnect(inuse_connections=False)
            base.failures.labels("send").inc()
            raise BrokerUnavailableError(f"Redis took no messages: {type(error).__name__}") from error

    def reader(self, queue_name: str, prefetch: int, timeout: float) -> "RedisReader":  # noqa: ARG002 taken one by one
        return RedisReader(self, _client(self._url, timeout + ANSWER_TIMEOUT), queue_name, timeout)

    def flush(self, queue_name: str) -> None:
        self._client.delete(_ahead(queue_name), _key(queue_name))

    def close(self) -> None:
        self._client.close()


class RedisReader:
    """Has a connection of its own and outlives the server: refused, cut off, read-only or flushed, it tries again."""

    def __init__(self, broker: RedisBroker, client: redis.Redis, queue_name: str, timeout: float) -> None:
        self._broker = broker
        self._client = client
        self._queue_name = queue_name
        self._timeout = timeout
        self._lost = False

    def pop(self) -> Taken | None:
        return self._pop([_ahead(self._queue_name), _key(self._queue_name)], self._timeout)

    def pop_ahead(self) -> Taken | None:
        return self._pop([_ahead(self._queue_name)], min(self._timeout, GLANCE))

    def _pop(self, keys: list[str], timeout: float) -> Taken | None:
        try:
            answer: Any = self._client.blpop(keys, timeout)
        except (redis.RedisError, OSError) as error:
            self._rest(error)
            return None
        if self._lost:
            self._lost = False
            log.info("the queue is reached again", queue=self._queue_name)
        return Taken(answer[1]) if answer else None

    def settle(self, taken: Taken) -> None:
        """It left the list when it was taken."""

    def put_back(self, taken: Sequence[Taken]) -> None:
        if not taken:
            return
        with contextlib.suppress(BrokerUnavailableError):  # then the ledger finds them
            self._broker.put_back(self._queue_name, [message.data for message in taken])

    def _rest(self, error: Exception) -> None:
        base.failures.labels("take").inc()
        if not self._lost:
            self._lost = True
            log.warning("the queue cannot be reached", queue=self._queue_name, error=type(error).__name__)
        self._client.connection_pool.disconnect()
        time.sleep(min(self._timeout, RECONNECT_WAIT))

    def close(self) -> None:
        self._client.close()


def _key(queue_name: str) -> str:
    return KEY_PREFIX + queue_name


def _ahead(queue_name: str) -> str:
    return f"{KEY_PREFIX}{queue_name}:ahead"


def _client(url: str, answer_timeout: float) -> redis.Redis:
    """Fails at once and never tries again by itself: the ledger does that."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=answer_timeout,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )

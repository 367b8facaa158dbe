"""A load generator that is cheap enough to measure the server and not itself: raw HTTP/1.1 over kept connections, one
request at a time on each; latencies from the moment when a request should have been sent.
"""

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec

Build = Callable[[int], bytes]
"""The whole request, head and body, with this number."""

OPEN_CONNECTIONS: Final = 64
"""Of an open loop: as many requests as that may be waiting for their answers."""

_numbers = itertools.count(1)


class Answer(msgspec.Struct):
    id: str


class Sent(NamedTuple):
    """`accepted`: `time.time()` of sending by id; `latencies` in seconds, sorted; `seconds` is how long it took."""

    accepted: dict[str, float]
    latencies: list[float]
    refused: int
    seconds: float

    @property
    def rate(self) -> float:
        return len(self.accepted) / self.seconds


class Connection(asyncio.Protocol):
    """Understands answers with a Content-Length, which is all that the API gives here."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._answer is None:
            return
        head = self._buffer[:end].lower()
        _, _, after = head.partition(b"content-length:")
        length = int(after.split(b"\r\n", 1)[0] or 0)
        if len(self._buffer) >= end + 4 + length:
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, _error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("closed by the server"))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answer


class Generator:
    """Against one server. Requests are numbered through, so that no two are the same."""

    def __init__(self, base_url: str, build: Build) -> None:
        address = urlsplit(base_url)
        self._host, self._port = address.hostname or "localhost", address.port or 80
        self._build = build
        self._decode = msgspec.json.Decoder(Answer).decode

    async def closed(self, connections: int, *, seconds: float = math.inf, total: float = math.inf) -> Sent:
        """Every connection asks again as soon as it is answered: how much the server takes."""
        opened = await self._open(connections)
        sent = Sent({}, [], 0, 0)
        began, left = time.time(), total
        refused = 0

        async def lane(connection: Connection) -> None:
            nonlocal left, refused
            while left > 0 and time.time() - began < seconds:
                left -= 1
                refused += not await self._one(connection, time.time(), sent)

        await asyncio.gather(*map(lane, opened))
        return _finished(sent, refused, began, opened)

    async def paced(self, rate: float, seconds: float) -> Sent:
        """`rate` requests a second, whether they are answered or not: how long a caller waits at such a load."""
        opened = await self._open(OPEN_CONNECTIONS)
        free: asyncio.Queue[Connection] = asyncio.Queue()
        for connection in opened:
            free.put_nowait(connection)
        sent = Sent({}, [], 0, 0)
        began = time.time()

        async def one(at: float) -> bool:
            connection = await free.get()
            try:
                return await self._one(connection, at, sent)
            finally:
                free.put_nowait(connection)

        asking = []
        for number in range(int(rate * seconds)):
            at = began + number / rate
            await asyncio.sleep(max(0.0, at - time.time()))
            asking.append(asyncio.create_task(one(at)))
        accepted = await asyncio.gather(*asking)
        return _finished(sent, accepted.count(False), began, opened)

    async def _one(self, connection: Connection, at: float, sent: Sent) -> bool:
        status, body = await connection.ask(self._build(next(_numbers)))
        if status != 202:
            return False
        sent.accepted[self._decode(body).id] = at
        sent.latencies.append(time.time() - at)
        return True

    async def _open(self, count: int) -> list[Connection]:
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(Connection, self._host, self._port) for _ in range(count)]
        return [connection for _, connection in made]


def requests(keys: Sequence[str]) -> Build:
    """A small image each, every one another, from customer after customer, under an Idempotency-Key."""
    heads = [
        f"POST /v1/generations HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
        "content-type: application/json\r\n"
        for key in keys
    ]

    def build(number: int) -> bytes:
        body = b'{"template":"badge","input":{"label":"%d"}}' % number
        head = f"{heads[number % len(heads)]}idempotency-key: bench-{number}\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body

    return build


def percentile(values: Sequence[float], part: float) -> float:
    """In milliseconds, of sorted seconds; not a number when there are none."""
    return values[min(len(values) - 1, int(len(values) * part))] * 1000 if values else math.nan


def _finished(sent: Sent, refused: int, began: float, opened: list[Connection]) -> Sent:
    for connection in opened:
        connection.transport.close()
    return Sent(sent.accepted, sorted(sent.latencies), refused, time.time() - began)

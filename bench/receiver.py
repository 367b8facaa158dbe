"""A webhook receiver that costs next to nothing: answers 204 and remembers when each generation's end was told."""

import asyncio
import time
from typing import Self, cast

import msgspec


class _Subject(msgspec.Struct):
    id: str


class _Event(msgspec.Struct):
    type: str
    data: _Subject


_decode = msgspec.json.Decoder(_Event).decode
_TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver:
    """On a free loopback port. `told`: `time.time()` of the first delivery by the generation's id; `taken`: how many
    deliveries there were.
    """

    def __init__(self) -> None:
        self.told: dict[str, float] = {}
        self.taken = 0
        self.url = ""
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def wait(self, ids: dict[str, float], quiet: float) -> None:
        """Until the ends of all of them were told, or nothing was for `quiet` seconds."""
        last, since = -1, time.monotonic()
        while not ids.keys() <= self.told.keys():
            if len(self.told) != last:
                last, since = len(self.told), time.monotonic()
            elif time.monotonic() - since > quiet:
                return
            await asyncio.sleep(0.05)


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            _, _, after = self._buffer[:end].lower().partition(b"content-length:")
            length = int(after.split(b"\r\n", 1)[0] or 0)
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            self._receiver.told.setdefault(_decode(body).data.id, time.time())
            self._receiver.taken += 1
            self._transport.write(_TAKEN)

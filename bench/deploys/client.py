"""A strict HTTP/1.1 client: whatever goes wrong with a request is seen. Libraries ask again by themselves when a kept
connection is closed under them, and what a deployment may break is just that.
"""

import asyncio
from typing import Final
from urllib.parse import urlsplit

import msgspec

TIMEOUT: Final = 10.0
FAULTS: Final = (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, ValueError)
"""What `ask` raises when it gets no whole answer."""


class Client:
    """One connection, kept for as long as the server wants; with `fresh` each request has one of its own."""

    def __init__(self, base_url: str, api_key: str, *, fresh: bool) -> None:
        address = urlsplit(base_url)
        self._host, self._port = address.hostname or "localhost", address.port or 80
        self._key = api_key
        self._fresh = fresh
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: object = None, *, key: str = "") -> tuple[int, bytes]:
        """Status and body. Raises one of FAULTS."""
        try:
            async with asyncio.timeout(TIMEOUT):
                reader, writer = await self._connection()
                writer.write(self._request(method, path, body, key))
                status, length, closes = _head(await reader.readuntil(b"\r\n\r\n"))
                content = await reader.readexactly(length)
        except BaseException:
            self.close()
            raise
        if closes or self._fresh:
            self.close()
        return status, content

    @property
    def left(self) -> bool:
        """Whether the server has closed the connection that is kept."""
        return self._streams is not None and self._streams[0].at_eof()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A kept one that the server has closed between two requests is left, as any client does."""
        if self.left:
            self.close()
        self._streams = self._streams or await asyncio.open_connection(self._host, self._port)
        return self._streams

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def _request(self, method: str, path: str, body: object, key: str) -> bytes:
        content = b"" if body is None else msgspec.json.encode(body)
        head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\nauthorization: Bearer {self._key}\r\n"
        if body is not None:
            head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
        if key:
            head += f"idempotency-key: {key}\r\n"
        return head.encode() + b"\r\n" + content


def _head(text: bytes) -> tuple[int, int, bool]:
    """Status, length of the body, whether the connection ends with it. Raises ValueError."""
    first, *lines = text.decode("latin-1").lower().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines if line)
    return int(first.split(" ")[1]), int(fields.get("content-length", "0")), fields.get("connection") == "close"

"""The few lines of HTTP by which a relay or worker shows its metrics, that it lives and that it can do its work: GET
`/metrics`, `/health/live` and `/health/ready`, one request per connection.
"""

import asyncio
import contextlib
import errno
import json
from collections.abc import Awaitable, Callable

from runtime import activation
from runtime.telemetry import logs, metrics

log = logs.logger(__name__)

REQUEST_TIMEOUT = 5.0
LARGEST_REQUEST = 16_384
READY_TIMEOUT = 3.0

Ailment = Callable[[], str | None]
"""Why this process should be started anew, or None while it is well."""

Hindrance = Callable[[], Awaitable[str | None]]
"""What keeps this process from doing its work just now, or None."""


def _well() -> None:
    return None


async def _unhindered() -> None:
    return None


class MetricsServer:
    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        host, port = server.sockets[0].getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()


async def serve(host: str, port: int, ailment: Ailment = _well, hindrance: Hindrance = _unhindered) -> MetricsServer:
    """On the socket that was handed over (`runtime/activation.py`), if one was. Port 0 takes a free one, and so does a
    port that is taken: `url` says which.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, TimeoutError, ValueError, EOFError):
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    request = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await _answer(request, ailment, hindrance))
                    await writer.drain()
        finally:
            writer.close()

    for handed_over in activation.listening_sockets():
        return MetricsServer(await asyncio.start_server(answer, sock=handed_over, limit=LARGEST_REQUEST))
    try:
        return MetricsServer(await asyncio.start_server(answer, host, port, limit=LARGEST_REQUEST))
    except OSError as error:
        if error.errno != errno.EADDRINUSE or port == 0:
            raise
        server = MetricsServer(await asyncio.start_server(answer, host, 0, limit=LARGEST_REQUEST))
        log.warning("the port for metrics is taken", port=port, instead=server.url)
        return server


async def _answer(request: bytes, ailment: Ailment, hindrance: Hindrance) -> bytes:
    """Raises ValueError for what is not HTTP."""
    method, target, _ = request.split(b"\r\n", 1)[0].split(b" ")
    path = target.split(b"?", 1)[0]
    if method not in (b"GET", b"HEAD"):
        status, kind, body = "405 Method Not Allowed", "text/plain", b"GET only\n"
    elif path == b"/metrics":
        status, kind, body = "200 OK", metrics.CONTENT_TYPE, metrics.render()
    elif path == b"/health/live":
        status, kind, body = _health(ailment())
    elif path == b"/health/ready":
        status, kind, body = _health(ailment() or await _ask(hindrance))
    else:
        status, kind, body = "404 Not Found", "text/plain", b"/metrics, /health/live or /health/ready\n"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (b"" if method == b"HEAD" else body)


async def _ask(hindrance: Hindrance) -> str | None:
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            return await hindrance()
    except TimeoutError:
        return f"it did not find out within {READY_TIMEOUT:g} s"


def _health(reason: str | None) -> tuple[str, str, bytes]:
    told = {"status": "failing", "reason": reason} if reason else {"status": "ok"}
    return "503 Service Unavailable" if reason else "200 OK", "application/json", json.dumps(told).encode()

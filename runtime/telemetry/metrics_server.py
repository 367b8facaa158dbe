"""The few lines of HTTP by which a relay or worker shows its metrics and that it lives: GET `/metrics` and
`/health/live`, one request per connection.
"""

import asyncio
import contextlib
import errno
import json
from collections.abc import Callable

from runtime import activation
from runtime.telemetry import logs, metrics

log = logs.logger(__name__)

REQUEST_TIMEOUT = 5.0
LARGEST_REQUEST = 16_384

Ailment = Callable[[], str | None]
"""Why this process should be started anew, or None while it is well."""


def _well() -> None:
    return None


class MetricsServer:
    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        host, port = server.sockets[0].getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()


async def serve(host: str, port: int, ailment: Ailment = _well) -> MetricsServer:
    """On the socket that was handed over (`runtime/activation.py`), if one was. Port 0 takes a free one, and so does a
    port that is taken: `url` says which.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, EOFError):
            async with asyncio.timeout(REQUEST_TIMEOUT):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(_answer(request, ailment))
                await writer.drain()
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


def _answer(request: bytes, ailment: Ailment) -> bytes:
    """Raises ValueError for what is not HTTP."""
    method, target, _ = request.split(b"\r\n", 1)[0].split(b" ")
    path = target.split(b"?", 1)[0]
    if method not in (b"GET", b"HEAD"):
        status, kind, body = "405 Method Not Allowed", "text/plain", b"GET only\n"
    elif path == b"/metrics":
        status, kind, body = "200 OK", metrics.CONTENT_TYPE, metrics.render()
    elif path == b"/health/live":
        reason = ailment()
        status, kind = "503 Service Unavailable" if reason else "200 OK", "application/json"
        body = json.dumps({"status": "failing", "reason": reason} if reason else {"status": "ok"}).encode()
    else:
        status, kind, body = "404 Not Found", "text/plain", b"/metrics or /health/live\n"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (b"" if method == b"HEAD" else body)

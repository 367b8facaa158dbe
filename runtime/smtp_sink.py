"""A mail server that delivers nowhere: every mail becomes an `.eml` file, for a person or a test to open.

It speaks real SMTP on loopback, so that what sends mail is the same code with and without a mail server.
"""

import asyncio
import itertools
import os
import re
from email.parser import BytesHeaderParser
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from runtime import clock
from runtime.telemetry import logs

log = logs.logger(__name__)

_UNSAFE = re.compile(r"[^A-Za-z0-9@._-]+")
_MAX_BYTES = 30_000_000


class SmtpSink:
    """Runs on the caller's event loop. A mail is answered with 250 once its file is whole and on disk."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder = folder
        self._host = host
        self._numbers = itertools.count()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def start(self) -> str:
        """Takes a free port and returns the address, `smtp://host:port`."""
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, self._host, 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"smtp://{self._host}:{port}"

    async def stop(self) -> None:
        """Closes the port and breaks what is still connected; a mail not yet answered is its sender's to send again."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            await connection.close()
        await self._server.wait_closed()
        self._server = None

    def _connection(self) -> "_Connection":
        return _Connection(self, self._connections)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - a hook of aiosmtpd
        content = envelope.original_content or b""
        path = self._folder / _file_name(content, next(self._numbers))
        try:
            await asyncio.to_thread(_write_whole, path, content)
        except OSError as error:
            log.warning("a mail could not be written", reason=error.strerror)
            return "452 4.3.1 The mail could not be written"
        log.info("mail received", file=path.name, recipients=len(envelope.rcpt_tos), bytes=len(content))
        return f"250 2.0.0 Written as {path.name}"


class _Connection(SMTP):
    def __init__(self, sink: SmtpSink, open_connections: "set[_Connection]") -> None:
        super().__init__(
            sink,
            data_size_limit=_MAX_BYTES,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="Mail sink",
            loop=asyncio.get_running_loop(),
        )
        self._open_connections = open_connections
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._open_connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._open_connections.discard(self)
        super().connection_lost(error)
        self._lost.set()

    async def close(self) -> None:
        if self.transport is not None:
            self.transport.close()
        await self._lost.wait()


def _file_name(content: bytes, number: int) -> str:
    """Sorts by the time of arrival; the Message-ID in it tells a retry from a second mail."""
    moment = clock.machine().strftime("%Y%m%dT%H%M%S.%fZ")
    message_id = str(BytesHeaderParser().parsebytes(content).get("Message-ID", "")).strip("<> ")
    return f"{moment}-{number:06d}-{_UNSAFE.sub('_', message_id)[:120] or 'no-message-id'}.eml"


def _write_whole(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)

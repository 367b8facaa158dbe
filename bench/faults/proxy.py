"""A network that misbehaves: all that passes between our processes and a server goes through a Link, over TCP."""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from bench.faults.wire import Conversation

_CHUNK: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)
_FAULTS: Final = (OSError, EOFError)

Reach = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
Heard = Callable[[str, str], None]
"""Of an answer that was swallowed: the client's name, and what it would have been told of."""


class Link:
    """Leads from `port` on loopback to a server. What is set here holds for every connection, at once, until it is set
    back: `delay` is seconds that each piece waits, `rate` bytes a second in each direction (0: as many as come).

    `converse` is called for each connection of a client that speaks PostgreSQL.
    """

    def __init__(self, reach: Reach, converse: Callable[[], Conversation] | None = None) -> None:
        self.port = 0
        self.delay = 0.0
        self.rate = 0
        self.refuses = False
        self._reach = reach
        self._converse = converse
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server
        self._ambushes: Counter[str] = Counter()
        self._heard: dict[str, Heard] = {}

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        self.mend()
        self.cut()
        await asyncio.gather(*(connection.ended.wait() for connection in set(self._connections)))

    def __len__(self) -> int:
        return len(self._connections)

    def cut(self) -> None:
        """Every connection is reset at both ends; new ones are taken, unless the link `refuses` them."""
        for connection in set(self._connections):
            connection.cut()

    def hold(self, *, held: bool) -> None:
        """Nothing passes and nobody is told. What was sent meanwhile arrives afterwards, as after a split of a net."""
        if held:
            self._flowing.clear()
        else:
            self._flowing.set()

    async def forsake(self, seconds: float, *, client: bool) -> None:
        """Every present connection is half open for so long: one end is reset, the other is not told. `client`: it is
        the client that goes on waiting; else the server keeps what the client has left.
        """
        forsaken = set(self._connections)
        for connection in forsaken:
            connection.forsake(client=client)
        await asyncio.sleep(seconds)
        for connection in forsaken:
            connection.cut()

    def ambush(self, application: str, count: int, heard: Heard) -> None:
        """The next so many answers that would have told clients of this name of a commit are swallowed and their
        connections reset, everything before the answer being passed on. Where no PostgreSQL is spoken, any answer.
        """
        self._ambushes[application] += count
        self._heard[application] = heard

    def call_off(self, application: str) -> int:
        """Ends the ambush; returns how many answers had not come."""
        return self._ambushes.pop(application, 0)

    def mend(self) -> None:
        """As it was, but for ambushes and what is half open."""
        self.delay, self.rate, self.refuses = 0.0, 0, False
        self.hold(held=False)

    async def pass_on(self, size: int) -> None:
        """Returns when so many bytes may go on."""
        await self._flowing.wait()
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.rate:
            await asyncio.sleep(size / self.rate)
        await self._flowing.wait()

    def is_swallowed(self, application: str, what: str) -> bool:
        if self._ambushes[application] <= 0:
            return False
        self._ambushes[application] -= 1
        self._heard[application](application, what)
        return True

    @property
    def piece(self) -> int:
        """Bytes that may go at once."""
        return max(1, self.rate // 20) if self.rate else _CHUNK

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, (reader, writer), self._converse() if self._converse else None)
        if self.refuses:
            connection.cut()
            return
        self._connections.add(connection)
        try:
            await connection.carry(self._reach)
        finally:
            self._connections.discard(connection)
            connection.ended.set()


class _Connection:
    def __init__(
        self,
        link: Link,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        conversation: Conversation | None,
    ) -> None:
        self.ended = asyncio.Event()
        self._link = link
        self._from_client, self._to_client = client
        self._from_server: asyncio.StreamReader
        self._to_server: asyncio.StreamWriter | None = None
        self._conversation = conversation
        self._cut = asyncio.Event()
        self._left: asyncio.StreamReader | None = None
        """Of the end that was not told, once the other one was reset."""

    async def carry(self, reach: Reach) -> None:
        """Until it has ended, whoever ended it."""
        cut = asyncio.create_task(self._cut.wait())
        try:
            self._from_server, self._to_server = await reach()
            pumps = [
                asyncio.create_task(self._pump(self._from_client, self._to_server, asks=True)),
                asyncio.create_task(self._pump(self._from_server, self._to_client, asks=False)),
            ]
            await asyncio.wait([cut, *pumps], return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except _FAULTS:
            self._cut.set()  # nobody is there: the client is told by a reset
        finally:
            cut.cancel()
            self._close()

    def _close(self) -> None:
        """What was sent before its sender closed still arrives; unless the connection was cut."""
        for writer in (self._to_client, self._to_server):
            if writer is not None and self._cut.is_set():
                _reset(writer)
            elif writer is not None:
                writer.close()

    def cut(self) -> None:
        self._cut.set()
        self._close()

    def forsake(self, *, client: bool) -> None:
        if self._to_server is not None:
            self._left = self._from_client if client else self._from_server
            _reset(self._to_server if client else self._to_client)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, asks: bool) -> None:
        with contextlib.suppress(*_FAULTS):
            while data := await source.read(self._link.piece):
                await self._link.pass_on(len(data))
                passing = self._asked(data) if asks else self._until_ambush(data)
                await self._send(sink, passing)
                if len(passing) < len(data):
                    self._cut.set()
                    return
        if self._left is not None and self._left is not source:
            await self._cut.wait()  # this end is gone, and the other one is not told

    async def _send(self, sink: asyncio.StreamWriter, data: bytes) -> None:
        """Into nothing, when that end was reset and this one was not told."""
        try:
            if self._left is None or not sink.is_closing():
                sink.write(data)
                await sink.drain()
        except _FAULTS:
            if self._left is None:
                raise

    def _asked(self, data: bytes) -> bytes:
        if self._conversation is not None:
            self._conversation.ask(data)
        return data

    def _until_ambush(self, data: bytes) -> bytes:
        """What of the server's answer may pass."""
        if self._conversation is None:
            return b"" if self._link.is_swallowed("", "answer") else data
        for commit in self._conversation.answer(data):
            if self._link.is_swallowed(self._conversation.application, commit.statement):
                return data[: commit.offset]
        return data


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.is_closing():
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()


def over_unix(path: str) -> Reach:
    return lambda: asyncio.open_unix_connection(path)


def over_tcp(port: int) -> Reach:
    return lambda: asyncio.open_connection("127.0.0.1", port)

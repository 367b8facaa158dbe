"""As much of PostgreSQL's protocol (version 3.0) as it takes to see the moment in which a client is told that what it
wrote is committed: the ReadyForQuery that ends a COMMIT, or a statement that was a transaction of its own.

Before that message the server has committed; without it the client cannot know. CommandComplete would not do: in the
extended protocol it is sent before the commit.
"""

import re
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

_VERSION_3: Final = 196608
_ENCRYPTION_REQUESTS: Final = frozenset({80877103, 80877104})
"""SSLRequest and GSSENCRequest: answered with one bare byte, and followed by another start-up packet."""
_WRITING: Final = r"insert\s+into|update\s+[\w.]+\s+set|delete\s+from"


class Commit(NamedTuple):
    """`offset` into the bytes that were looked at: where the message begins that tells of it. `statement` is the name
    of the function that wrote, else the first words of the statement.
    """

    offset: int
    statement: str


class Writes:
    """Which statements write: by their words, or because they call a function that does."""

    def __init__(self) -> None:
        self.learn(())

    def learn(self, functions: Iterable[str]) -> None:
        names = "|".join(sorted(map(re.escape, functions))) or r"(?!)"
        self._pattern = re.compile(rf"\b(?P<function>{names})\s*\(|\b(?P<words>{_WRITING})\b", re.IGNORECASE)

    def named(self, statement: str) -> str | None:
        """None: it only reads."""
        found = self._pattern.search(statement)
        return None if found is None else found["function"] or " ".join(found["words"].split()).lower()


class Conversation:
    """One connection. To be shown every byte of both directions, in order."""

    def __init__(self, writes: Writes) -> None:
        self.application = ""
        self._writes = writes
        self._asked = bytearray()
        self._answered = bytearray()
        self._started = False
        self._bare_answers = 0
        self._statements: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}
        self._unit: list[str] = []
        self._units: deque[list[str]] = deque([[]])  # the first ReadyForQuery answers the start-up packet
        self._failed = False
        self._tag = b""
        self._state = b"I"
        self._written = ""

    def ask(self, data: bytes) -> None:
        """What the client sends."""
        self._asked += data
        while not self._started and (size := _size(self._asked, 0)):
            self._begin(bytes(self._asked[4:size]))
            del self._asked[:size]
        if self._started:
            for kind, body, _ in _messages(self._asked):
                self._take_request(kind, body)

    def answer(self, data: bytes) -> list[Commit]:
        """What the server sends: the commits that the client learns of by these bytes."""
        bare = min(self._bare_answers, len(data))
        self._bare_answers -= bare
        before = len(self._answered) - bare
        self._answered += data[bare:]
        found = []
        for kind, body, start in _messages(self._answered):
            if (statement := self._take_answer(kind, body)) is not None:
                found.append(Commit(max(0, start - before), statement))
        return found

    def _begin(self, packet: bytes) -> None:
        (code,) = struct.unpack_from("!I", packet)
        if code in _ENCRYPTION_REQUESTS:
            self._bare_answers += 1
        elif code == _VERSION_3:
            self._started = True
            fields = packet[4:].split(b"\0")
            self.application = dict(zip(fields[::2], fields[1::2], strict=False)).get(b"application_name", b"").decode()

    def _take_request(self, kind: bytes, body: bytes) -> None:
        match kind:
            case b"P":
                name, statement, _ = body.split(b"\0", 2)
                self._statements[name] = statement.decode(errors="replace")
            case b"B":
                portal, name, _ = body.split(b"\0", 2)
                self._portals[portal] = self._statements.get(name, "")
            case b"E":
                self._unit.append(self._portals.get(body.partition(b"\0")[0], ""))
            case b"Q":
                self._units.append([body.rstrip(b"\0").decode(errors="replace")])
            case b"S":
                self._units.append(self._unit)
                self._unit = []

    def _take_answer(self, kind: bytes, body: bytes) -> str | None:
        """What is committed, once the client learns of it."""
        match kind:
            case b"C":
                self._tag = body.rstrip(b"\0")
            case b"E":
                self._failed = True
            case b"Z":
                return self._end_unit(body)
        return None

    def _end_unit(self, state: bytes) -> str | None:
        unit = self._units.popleft() if self._units else []
        if not self._failed:
            self._written = self._written or next(filter(None, map(self._writes.named, unit)), "")
        committed = state == b"I" and not self._failed and (self._state == b"I" or self._tag == b"COMMIT")
        told = self._written if committed and self._written else None
        if state == b"I":
            self._written = ""
        self._state, self._failed, self._tag = state, False, b""
        return told


def _messages(buffer: bytearray) -> Iterator[tuple[bytes, bytes, int]]:
    """Takes every whole message out of the buffer: its kind, its body, and where in the buffer it began."""
    start = 0
    try:
        while size := _size(buffer, start + 1):
            yield bytes(buffer[start : start + 1]), bytes(buffer[start + 5 : start + 1 + size]), start
            start += 1 + size
    finally:
        del buffer[:start]


def _size(buffer: bytearray, start: int) -> int:
    """Of what begins here with its own length; 0 until all of it has come."""
    if len(buffer) < start + 4:
        return 0
    (size,) = struct.unpack_from("!I", buffer, start)
    return size if len(buffer) >= start + size else 0

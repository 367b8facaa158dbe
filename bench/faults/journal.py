"""What client, receiver and nemesis did, each in its own append-only file: the audit knows nothing else of them.

A line is handed to the kernel before the deed that it announces or the answer that it reports goes on, so it outlives
whatever happens next.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec


class Asked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A client is about to ask for something under this Idempotency-Key. `what`: image, poison, cancel or upload."""

    at: float
    key: str
    what: str
    tenant: int


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What it was told; a 2xx is a promise. `sha256` is that of the answer's body."""

    at: float
    key: str
    status: int
    id: str
    sha256: str


class Delivered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A webhook as it came: `hook` and `tenant` are from its path, `status` is what it is answered with."""

    at: float
    hook: int
    tenant: int
    id: str
    timestamp: str
    signature: str
    body: str
    status: int


class Struck(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A blow of the nemesis. `pid` 0: the process that was meant was not there; None: none was meant. `what` tells
    more: the client that was cut off, what the commit was of whose answer was lost.
    """

    at: float
    blow: str
    pid: int | None = None
    what: str = ""


class Woken(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A process is about to go on that was frozen: with the tasks, by id, and the tokens of their leases as they were
    when it was frozen (`held`), and as they are now; a task that nobody has now is not in `now`.
    """

    at: float
    blow: str
    pid: int
    held: dict[int, int]
    now: dict[int, int]

    @property
    def lost(self) -> dict[int, int]:
        """The tasks that are its own no longer, with the tokens that they had."""
        return {task: token for task, token in self.held.items() if self.now.get(task) != token}


Line = Asked | Answered | Delivered | Struck | Woken

T = TypeVar("T", bound=Line)

_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Line)


class Journal:
    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, line: Line) -> None:
        os.write(self._descriptor, msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        os.close(self._descriptor)


def read(path: Path, kind: type[T]) -> Iterator[T]:
    with path.open("rb") as file:
        for text in file:
            if isinstance(line := _decoder.decode(text), kind):
                yield line

"""What every store is held to (`tests/contracts/test_object_store.py`)."""

import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec

from storage.errors import InvalidContentTypeError

CHUNK_SIZE = 256 * 1024

_CONTENT_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+(?:; ?[a-z0-9-]+=[A-Za-z0-9._-]+)*")


class StoredObject(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    size: int
    content_type: str
    sha256: str
    modified: datetime
    created: bool = False
    """True in the answer to the put that made the object; False when it was there already, and in `stat`."""


class ObjectStore(Protocol):
    """Objects are made once and never change: putting the same content again succeeds (a retry is harmless), other
    content under the same key is refused. A put that returned survives a power failure; one that failed or died
    leaves nothing that a reader could see.

    Every call raises StorageUnavailableError when the store can't work and InvalidKeyError for a key that doesn't fit.
    """

    @property
    def root(self) -> Path | None:
        """The folder in which another process of this machine may put objects by itself (`storage.shelf`)."""
        ...

    async def put_file(self, key: str, path: Path, *, content_type: str, sha256: str) -> StoredObject:
        """Stores a file whose SHA-256 the caller knows. The file stays where it is, but may now share its blocks with
        the store: delete it or leave it alone, never write to it again.

        Raises ObjectExistsError, ChecksumMismatchError, StorageFullError, and FileNotFoundError when `path` is no
        regular file.
        """
        ...

    async def put(self, key: str, data: bytes, *, content_type: str) -> StoredObject:
        """Raises ObjectExistsError, StorageFullError."""
        ...

    async def get(self, key: str) -> bytes:
        """The whole object, its checksum verified. Raises ObjectNotFoundError, ObjectDamagedError."""
        ...

    def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `[start:end]` in chunks; what lies beyond the object's end is left out, as in a slice.

        Raises ObjectNotFoundError and ObjectDamagedError at the first chunk, ValueError for a range that runs
        backwards. A part can't be checked against the checksum of the whole.
        """
        ...

    async def stat(self, key: str) -> StoredObject:
        """Raises ObjectNotFoundError, ObjectDamagedError."""
        ...

    async def delete(self, key: str, *, unless_put_since: datetime | None = None) -> bool:
        """Whether there was something and it is gone; deleting what isn't there succeeds. What was put since that
        moment, even if it was there already, is left: whoever put it is about to refer to it.
        """
        ...

    def list(self, prefix: str = "") -> AsyncIterator[str]:
        """Every key that begins with `prefix`, in the order of the keys."""
        ...

    async def check(self) -> None:
        """Whether the store can be written now; returns nothing. Raises StorageUnavailableError."""
        ...


def check_content_type(content_type: str) -> str:
    """Returns it; raises InvalidContentTypeError for what could not be sent as a header."""
    if len(content_type) > 200 or not _CONTENT_TYPE.fullmatch(content_type):
        raise InvalidContentTypeError(f"{content_type[:60]!r} is not a media type")
    return content_type


def check_range(start: int, end: int | None) -> None:
    """Raises ValueError for a range that runs backwards or begins before the object."""
    if start < 0 or (end is not None and end < start):
        raise ValueError(f"no bytes lie from {start} to {end}")

"""A store for tests and trials: everything is gone with the process."""

import errno
import hashlib
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import msgspec

from runtime import clock
from storage import base, keys, pool
from storage.base import StoredObject
from storage.errors import ChecksumMismatchError, ObjectExistsError, ObjectNotFoundError


class MemoryStore:
    root = None

    def __init__(self) -> None:
        self._objects: dict[str, tuple[StoredObject, bytes]] = {}
        self._put_at: dict[str, datetime] = {}

    async def put_file(self, key: str, path: Path, *, content_type: str, sha256: str) -> StoredObject:
        keys.check(key)
        data = await pool.run(_read_regular, path)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ChecksumMismatchError(key)
        return await self.put(key, data, content_type=content_type)

    async def put(self, key: str, data: bytes, *, content_type: str) -> StoredObject:
        keys.check(key)
        made = StoredObject(
            key=key,
            size=len(data),
            content_type=base.check_content_type(content_type),
            sha256=hashlib.sha256(data).hexdigest(),
            modified=clock.machine(),
        )
        present, _ = self._objects.setdefault(key, (made, bytes(data)))
        if present.sha256 != made.sha256:
            raise ObjectExistsError(key)
        self._put_at[key] = clock.machine()
        return msgspec.structs.replace(present, created=present is made)

    async def get(self, key: str) -> bytes:
        return self._find(key)[1]

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        base.check_range(start, end)
        content = memoryview(self._find(key)[1])[start:end]
        for offset in range(0, len(content), base.CHUNK_SIZE):
            yield bytes(content[offset : offset + base.CHUNK_SIZE])

    async def stat(self, key: str) -> StoredObject:
        return self._find(key)[0]

    async def delete(self, key: str, *, unless_put_since: datetime | None = None) -> bool:
        if unless_put_since is not None and self._put_at.get(keys.check(key), unless_put_since) > unless_put_since:
            return False
        self._put_at.pop(keys.check(key), None)
        return self._objects.pop(key, None) is not None

    async def list(self, prefix: str = "") -> AsyncIterator[str]:
        keys.check_prefix(prefix)
        for key in sorted(self._objects):
            if key.startswith(prefix):
                yield key

    async def check(self) -> None:
        """Memory can always be written."""

    def _find(self, key: str) -> tuple[StoredObject, bytes]:
        try:
            return self._objects[keys.check(key)]
        except KeyError:
            raise ObjectNotFoundError(key) from None


def _read_regular(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no regular file", str(path))
    return path.read_bytes()

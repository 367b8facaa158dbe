"""The store of one machine: `storage/folder.py` behind the pool of threads."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

from storage import base, folder, keys, pool
from storage.base import StoredObject
from storage.errors import ObjectDamagedError
from storage.folder import LEFTOVERS_AFTER, ObjectFolder


class LocalStore:
    def __init__(self, root: Path, *, leftovers_after: timedelta = LEFTOVERS_AFTER) -> None:
        """Makes the folder and clears old leftovers away. Raises StorageUnavailableError."""
        self.root = root
        self._folder = ObjectFolder(root, leftovers_after)

    async def put_file(self, key: str, path: Path, *, content_type: str, sha256: str) -> StoredObject:
        keys.check(key)
        return await pool.run(self._folder.put_file, key, path, base.check_content_type(content_type), sha256)

    async def put(self, key: str, data: bytes, *, content_type: str) -> StoredObject:
        keys.check(key)
        return await pool.run(self._folder.put, key, data, base.check_content_type(content_type))

    async def get(self, key: str) -> bytes:
        return await pool.run(self._folder.get, keys.check(key))

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        base.check_range(start, end)
        record, file = await pool.run(self._folder.open, keys.check(key), start)
        left = min(record.size, record.size if end is None else end) - start
        with file:
            while left > 0:
                chunk = await pool.run(folder.read, file, min(left, base.CHUNK_SIZE))
                if not chunk:
                    raise ObjectDamagedError(key)
                left -= len(chunk)
                yield chunk

    async def stat(self, key: str) -> StoredObject:
        return await pool.run(self._folder.stat, keys.check(key))

    async def delete(self, key: str, *, unless_put_since: datetime | None = None) -> bool:
        return await pool.run(self._folder.delete, keys.check(key), unless_put_since)

    async def list(self, prefix: str = "") -> AsyncIterator[str]:
        keys.check_prefix(prefix)
        pending = [prefix[: prefix.rfind("/") + 1]]
        while pending:
            item = pending.pop()
            if item and not item.endswith("/"):
                yield item
                continue
            children = await pool.run(self._folder.children, item)
            pending += [child for child in reversed(children) if child.startswith(prefix) or prefix.startswith(child)]

    async def check(self) -> None:
        await pool.run(self._folder.check)

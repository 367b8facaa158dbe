"""The store of this machine, for a process that is told no more than where it lies (`ObjectStore.root`). Blocks."""

from functools import cache
from pathlib import Path

from storage import base, keys
from storage.folder import ObjectFolder


def put(root: Path, key: str, data: bytes, *, content_type: str, sha256: str) -> None:
    """As `ObjectStore.put`, of content whose SHA-256 is known. Raises as that does."""
    _folder(root).put(keys.check(key), data, base.check_content_type(content_type), sha256)


@cache
def _folder(root: Path) -> ObjectFolder:
    return ObjectFolder(root)

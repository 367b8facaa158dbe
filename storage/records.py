"""What is known of an object in a folder beside its bytes. The name of content known by its hash (`keys.content_key`)
says it all: SHA-256 and content type; size and time are the file's own. Of any other object a record is kept in a file
of its own, `.name.json`. It goes before what the name says: objects that were put before names counted have one too.
"""

import os
import re
import stat
from datetime import UTC, datetime
from io import FileIO
from typing import Final

import msgspec

from storage.base import StoredObject
from storage.errors import ObjectDamagedError

READ_ONLY: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC

_TYPES: Final = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "pdf": "application/pdf"}
"""What is stored is read by this: it may grow, and what it says never changes."""
_NAME: Final = re.compile(r"([0-9a-f]{64})\.([a-z0-9]+)")


def file_name(name: str) -> str:
    """Of the record of an object."""
    return f".{name}.json"


def said_by(name: str) -> tuple[str, str] | None:
    """SHA-256 and content type."""
    match = _NAME.fullmatch(name)
    return (match[1], _TYPES[match[2]]) if match and match[2] in _TYPES else None


def find(folder: int, name: str) -> StoredObject | None:
    """None when the object isn't there; raises ObjectDamagedError when its content can't be what was put."""
    try:
        content = os.stat(name, dir_fd=folder, follow_symlinks=False)
        record = _kept(folder, name) or _said(name, content)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise ObjectDamagedError(name) from error
    if record is None or not stat.S_ISREG(content.st_mode):
        return None
    if content.st_size != record.size:
        raise ObjectDamagedError(name)
    return record


def intact(folder: int, name: str, wanted: StoredObject) -> StoredObject | None:
    """As `find`, for a put: a damaged object counts as missing, so that the put replaces it."""
    try:
        record = find(folder, name)
    except ObjectDamagedError:
        return None
    if record is None or (record.sha256 == wanted.sha256 and record.size != wanted.size):
        return None
    return msgspec.structs.replace(record, key=wanted.key, created=False)


def _kept(folder: int, name: str) -> StoredObject | None:
    try:
        with FileIO(os.open(file_name(name), READ_ONLY, dir_fd=folder)) as file:
            return msgspec.json.decode(file.readall(), type=StoredObject)
    except FileNotFoundError:
        return None


def _said(name: str, content: os.stat_result) -> StoredObject | None:
    if (said := said_by(name)) is None:
        return None
    modified = datetime.fromtimestamp(content.st_mtime, UTC)
    return StoredObject(key=name, size=content.st_size, content_type=said[1], sha256=said[0], modified=modified)

"""Which keys there are: `segment/segment/…`, lower case, so that every store and every file system tells the same
keys apart, and none of them means anything to a path (`..`, `//`, a leading dot).
"""

import re

from storage.errors import InvalidKeyError

MAX_LENGTH = 512
MAX_SEGMENT = 200
"""A file name may have 255 bytes; the local store adds some of its own."""

_SEGMENT = re.compile(r"[a-z0-9_][a-z0-9._-]*")
_PREFIX = re.compile(r"(?:[a-z0-9_][a-z0-9._-]*/)*(?:[a-z0-9_][a-z0-9._-]*)?")
_EXTENSION = re.compile(r"[a-z0-9]{1,10}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check(key: str) -> str:
    """Returns the key; raises InvalidKeyError for one that does not fit."""
    if len(key) > MAX_LENGTH:
        raise InvalidKeyError(f"a key has at most {MAX_LENGTH} characters, this one has {len(key)}")
    for segment in key.split("/"):
        if len(segment) > MAX_SEGMENT or not _SEGMENT.fullmatch(segment):
            raise InvalidKeyError(f"{segment[:40]!r} can't be a part of a key")
    return key


def check_prefix(prefix: str) -> str:
    """A prefix is the beginning of a key and may end anywhere, also inside a segment."""
    if len(prefix) > MAX_LENGTH or not _PREFIX.fullmatch(prefix):
        raise InvalidKeyError(f"{prefix[:40]!r} can't be the beginning of a key")
    return prefix


def content_key(namespace: str, sha256: str, extension: str) -> str:
    """The key of content known by its hash: equal content in one namespace is one object."""
    if not _SHA256.fullmatch(sha256):
        raise InvalidKeyError("a SHA-256 is 64 lower-case hexadecimal digits")
    if not _EXTENSION.fullmatch(extension):
        raise InvalidKeyError(f"{extension[:40]!r} can't be a file's extension")
    if "/" in namespace:
        raise InvalidKeyError(f"{namespace[:40]!r} can't be a namespace")
    return check(f"o/{namespace}/{sha256}.{extension}")

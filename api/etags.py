"""Entity tags (RFC 9110, 8.8.3 and 13.1)."""

import hashlib
import re
from typing import Any

import msgspec
from litestar import Response

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def weak(value: object) -> str:
    """Of what a representation says, rather than of its bytes."""
    return f'W/"{hashlib.blake2b(msgspec.json.encode(value), digest_size=12).hexdigest()}"'


def matches(header: str | None, tag: str) -> bool:
    """Whether an If-None-Match names this tag; compared weakly, as the RFC asks."""
    if header is None:
        return False
    bare = tag.removeprefix("W/")
    return header.strip() == "*" or bare in _TAG.findall(header)


def not_modified(headers: dict[str, str]) -> Response[Any]:
    return Response(b"", status_code=304, headers=headers)

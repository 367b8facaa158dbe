"""Cursors: opaque to callers, and good only for the list and the filters that they were given with."""

import base64
import binascii
import hashlib
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from api.errors import CursorInvalid
from domain import pages

Item = TypeVar("Item")

Limit = Annotated[int, QueryParameter(ge=1, le=pages.LARGEST, description="How many items a page has at most.")]
CursorParameter = Annotated[
    str | None, QueryParameter(description="`next_cursor` of the page before; the filters must stay the same.")
]
USUAL = 20


class Listing(msgspec.Struct, Generic[Item], frozen=True):
    """One page, newest first. `next_cursor` gives the next page; null on the last one."""

    data: list[Item]
    next_cursor: str | None


class _Cursor(msgspec.Struct, array_like=True, frozen=True):
    last: str
    filters: str


def wanted(cursor: str | None, limit: int, *filters: Any) -> pages.PageRequest:
    """`filters`: whatever decides which items are in the list, its name first. Raises CursorInvalid."""
    if cursor is None:
        return pages.PageRequest(limit)
    try:
        read = msgspec.json.decode(base64.urlsafe_b64decode(cursor.encode() + b"=="), type=_Cursor)
    except (ValueError, binascii.Error):
        raise CursorInvalid from None
    if read.filters != _fingerprint(filters):
        raise CursorInvalid("the cursor belongs to a list with other filters")
    return pages.PageRequest(limit, read.last)


def listing(page: pages.Page[Item], *filters: Any) -> Listing[Item]:
    """`filters` as in `wanted`."""
    if page.last is None:
        return Listing(page.items, None)
    cursor = msgspec.json.encode(_Cursor(page.last, _fingerprint(filters)))
    return Listing(page.items, base64.urlsafe_b64encode(cursor).decode().rstrip("="))


def _fingerprint(filters: tuple[Any, ...]) -> str:
    return hashlib.blake2b(msgspec.json.encode(filters), digest_size=6).hexdigest()

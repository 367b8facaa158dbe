"""Lists page by page, newest first: by the last id of the page before, never by an offset."""

from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Select

from runtime.database import Reader

Item = TypeVar("Item")

LARGEST = 100


class PageRequest(msgspec.Struct, frozen=True):
    """`after` is the id of the last item already seen; None begins with the newest."""

    limit: int = 20
    after: str | None = None


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """`last` is what the next page is asked for with; None when nothing comes after this one."""

    items: list[Item]
    last: str | None


async def rows(tx: Reader, query: Select[Any], key: ColumnElement[str], wanted: PageRequest) -> Page[Any]:
    """Rows of a query whose column `key` is a prefixed id (they sort by time) and is called `id` in the row.

    Rows that are added while someone pages are newer than all that he has seen, so he neither misses nor repeats one.
    """
    if wanted.after is not None:
        query = query.where(key < wanted.after)
    found = list(await tx.execute(query.order_by(key.desc()).limit(wanted.limit + 1)))
    kept = found[: wanted.limit]
    return Page(kept, kept[-1].id if len(found) > wanted.limit else None)

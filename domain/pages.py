"""Lists page by page, newest first: by the last id of the page before, never by an offset.

What a page costs must not depend on how much there is. So each filter either leads an index that ends in the id, or it
is looked for among so many rows at most (`among`).
"""

from collections.abc import Collection
from typing import Any, Final, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Select, and_, select, union_all

from runtime.database import Reader

Item = TypeVar("Item")

Conditions = Collection[ColumnElement[bool]]

LARGEST: Final = 100
LOOK: Final = 1_000
"""How many rows are looked at for one page, where a filter has no index."""


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
    query = query.where(*_after(key, wanted))
    found = list(await tx.execute(query.order_by(key.desc()).limit(wanted.limit + 1)))
    kept = found[: wanted.limit]
    return Page(kept, kept[-1].id if len(found) > wanted.limit else None)


async def among(
    tx: Reader, query: Select[Any], key: ColumnElement[str], wanted: PageRequest, *, led_by: Conditions, fit: Conditions
) -> Page[Any]:
    """As `rows`, where an index serves the conditions `led_by` and none the conditions `fit`. `LOOK` rows are looked
    at, so a page may hold fewer than it could, or none, and have a next one all the same.
    """
    look = select(key.label("id"), and_(*fit).label("fits")).where(*led_by, *_after(key, wanted))
    seen = list(await tx.execute(look.order_by(key.desc()).limit(LOOK)))
    fitting = [row.id for row in seen if row.fits]
    kept = fitting[: wanted.limit]
    found = list(await tx.execute(query.where(key.in_(kept)).order_by(key.desc()))) if kept else []
    if len(fitting) > wanted.limit:
        return Page(found, kept[-1])
    return Page(found, seen[-1].id if len(seen) == LOOK else None)


async def merged(
    tx: Reader, query: Select[Any], key: ColumnElement[str], wanted: PageRequest, kinds: Collection[Conditions]
) -> Page[Any]:
    """As `rows`, of what is of one of these kinds: each is read along an index of its own."""
    newest = [
        select(key.label("id")).where(*kind, *_after(key, wanted)).order_by(key.desc()).limit(wanted.limit + 1)
        for kind in kinds
    ]
    ids = union_all(*(select(each.subquery().c.id) for each in newest)).subquery()
    return await rows(tx, query.where(key.in_(select(ids.c.id))), key, PageRequest(wanted.limit))


def _after(key: ColumnElement[str], wanted: PageRequest) -> Conditions:
    return () if wanted.after is None else (key < wanted.after,)

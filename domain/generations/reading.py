"""Looking generations up. Every function reads inside the transaction's organization."""

from collections.abc import Collection
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

import msgspec
from sqlalchemy import ARRAY, ColumnElement, Select, Text, and_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import asyncpg

from domain import pages
from domain.generations import views
from domain.generations.errors import GenerationNotFound
from domain.generations.models import AssetRow, GenerationRow
from domain.generations.views import GenerationView, Status
from runtime import clock, ids
from runtime.database import Reader, SystemDatabase
from storage.addresses import ObjectUrls


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    status: Status | None = None
    project: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


async def one(tx: Reader, generation_id: str, urls: ObjectUrls) -> GenerationView:
    """Raises GenerationNotFound."""
    row = (await tx.execute(_all().where(GenerationRow.id == generation_id))).one_or_none()
    if row is None:
        raise GenerationNotFound
    return views.of_row(row, urls)


async def many(
    system: SystemDatabase, wanted: Collection[tuple[str, str]], urls: ObjectUrls
) -> dict[tuple[str, str], GenerationView]:
    """By organization and id; of several organizations, as the system."""
    rows = await system.call_many(_MANY, [organization for organization, _ in wanted], [id_ for _, id_ in wanted])
    return {(row["organization_id"], row["id"]): views.of_row(SimpleNamespace(**row), urls) for row in rows}


async def page(
    tx: Reader, wanted: Filter, request: pages.PageRequest, *, urls: ObjectUrls
) -> pages.Page[GenerationView]:
    """Newest first."""
    found = await _found(tx, wanted, request)
    return pages.Page([views.of_row(row, urls) for row in found.items], found.last)


def _of_many() -> str:
    """Written once: SQLAlchemy would need longer to put the statement together than PostgreSQL to answer it."""
    texts = ARRAY(Text)
    keys = func.unnest(bindparam("organizations", type_=texts), bindparam("ids", type_=texts))
    wanted = keys.table_valued("organization_id", "id", name="wanted").render_derived()
    same = (GenerationRow.organization_id == wanted.c.organization_id) & (GenerationRow.id == wanted.c.id)
    query = _all().add_columns(GenerationRow.organization_id).join(wanted, same)
    return str(query.compile(dialect=asyncpg.dialect()))  # type: ignore[no-untyped-call]


async def _found(tx: Reader, wanted: Filter, request: pages.PageRequest) -> pages.Page[Any]:
    """Along the index of the project, of the status, or of all: whichever is likely to lead past the fewest others."""
    key: Any = GenerationRow.id
    query, kinds, between = _all(), _kinds(wanted.status), _between(wanted)
    project = () if wanted.project is None else (GenerationRow.project == wanted.project,)
    if wanted.status is None:
        return await pages.rows(tx, query.where(*project, *between), key, request)
    if wanted.status == "queued" and not project:
        return await pages.merged(tx, query, key, request, [(*kind, *between) for kind in kinds])
    if wanted.status == "queued" or (wanted.status == "succeeded" and project):
        fit = (or_(*(and_(*kind) for kind in kinds)),)
        return await pages.among(tx, query, key, request, led_by=(*project, *between), fit=fit)
    [(status, *only)] = kinds
    if not only and not project:
        return await pages.rows(tx, query.where(status, *between), key, request)
    return await pages.among(tx, query, key, request, led_by=(status, *between), fit=(*only, *project))


def _kinds(status: Status | None) -> list[tuple[ColumnElement[bool], ...]]:
    """What is stored of those that are so now: nobody writes a row at the moment when it falls due."""
    scheduled = GenerationRow.status == "scheduled"
    match status:
        case "scheduled":
            return [(scheduled, GenerationRow.run_at > clock.product())]
        case "queued":
            return [(GenerationRow.status == "queued",), (scheduled, GenerationRow.run_at <= clock.product())]
        case _:
            return [(GenerationRow.status == status,)]


def _between(wanted: Filter) -> list[ColumnElement[bool]]:
    """A generation's time is its id's, in whole milliseconds."""
    bounds = []
    if wanted.created_after is not None:
        bounds.append(GenerationRow.id >= ids.earliest("gen", wanted.created_after + timedelta(milliseconds=1)))
    if wanted.created_before is not None:
        bounds.append(GenerationRow.id < ids.earliest("gen", wanted.created_before + timedelta(microseconds=999)))
    return bounds


def _all() -> Select[tuple[object, ...]]:
    joined = (AssetRow.organization_id == GenerationRow.organization_id) & (AssetRow.generation_id == GenerationRow.id)
    return select(*views.COLUMNS).outerjoin(AssetRow, joined)


_MANY: Final = _of_many()

"""Looking generations up. Every function reads inside the transaction's organization."""

from collections.abc import Collection
from datetime import datetime

import msgspec
from sqlalchemy import Select, select, tuple_

from domain import pages
from domain.generations import views
from domain.generations.errors import GenerationNotFound
from domain.generations.models import AssetRow, GenerationRow
from domain.generations.views import GenerationView, Status
from runtime import clock
from runtime.database import Reader, SystemTransaction
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
    tx: SystemTransaction, wanted: Collection[tuple[str, str]], urls: ObjectUrls
) -> dict[tuple[str, str], GenerationView]:
    """By organization and id; of several organizations, as the system."""
    key = tuple_(GenerationRow.organization_id, GenerationRow.id)
    query = _all().add_columns(GenerationRow.organization_id).where(key.in_(wanted))
    return {(row.organization_id, row.id): views.of_row(row, urls) for row in await tx.execute(query)}


async def page(
    tx: Reader, wanted: Filter, request: pages.PageRequest, *, urls: ObjectUrls
) -> pages.Page[GenerationView]:
    """Newest first."""
    found = await pages.rows(tx, _matching(wanted), GenerationRow.id, request)  # type: ignore[arg-type]
    return pages.Page([views.of_row(row, urls) for row in found.items], found.last)


def _all() -> Select[tuple[object, ...]]:
    joined = (AssetRow.organization_id == GenerationRow.organization_id) & (AssetRow.generation_id == GenerationRow.id)
    return select(*views.COLUMNS).outerjoin(AssetRow, joined)


def _matching(wanted: Filter) -> Select[tuple[object, ...]]:
    query = _all()
    if wanted.project is not None:
        query = query.where(GenerationRow.project == wanted.project)
    if wanted.created_after is not None:
        query = query.where(GenerationRow.created_at > wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(GenerationRow.created_at < wanted.created_before)
    if wanted.status == "scheduled":
        return query.where(GenerationRow.status == "scheduled", GenerationRow.run_at > clock.product())
    if wanted.status == "queued":
        due = (GenerationRow.status == "scheduled") & (GenerationRow.run_at <= clock.product())
        return query.where((GenerationRow.status == "queued") | due)
    return query if wanted.status is None else query.where(GenerationRow.status == wanted.status)

"""How a generation looks from outside: the same in the API, in webhooks and in mails."""

from datetime import datetime
from typing import Any, Literal, cast

import msgspec

from domain.generations.models import AssetRow, GenerationRow
from domain.templates import catalogue, geometry
from domain.templates.errors import OutputInvalid, TemplateNotFound
from domain.templates.geometry import Canvas, Output
from runtime import clock
from storage.addresses import ObjectUrls

Status = Literal["scheduled", "queued", "running", "succeeded", "failed", "cancelled"]


class AssetView(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is signed and expires; asking for the generation again gives a fresh one."""

    id: str
    url: str
    format: str
    width: int
    height: int
    bytes: int
    sha256: str


class OutputView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the image will be. `width` and `height` are pixels, in a PDF points; only JPEG and WebP have a `quality`."""

    format: str
    width: int | None = None
    height: int | None = None
    quality: int | None = None


class FailureView(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    detail: str


class GenerationView(msgspec.Struct, frozen=True, kw_only=True):
    """`credits` is what was charged: null before the end, 0 for what was not delivered. Times are RFC 3339 UTC."""

    id: str
    status: Status
    engine: str
    template: str
    input: dict[str, Any]
    output: OutputView
    project: str | None
    metadata: dict[str, Any]
    run_at: str | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    assets: list[AssetView]
    reused: bool
    credits: int | None
    error: FailureView | None


COLUMNS = (
    GenerationRow.id, GenerationRow.status, GenerationRow.engine, GenerationRow.template, GenerationRow.request,
    GenerationRow.project, GenerationRow.metadata_.label("metadata_"), GenerationRow.run_at, GenerationRow.created_at,
    GenerationRow.started_at, GenerationRow.ended_at, GenerationRow.reused, GenerationRow.charged,
    GenerationRow.failure_code, GenerationRow.failure_detail,
    AssetRow.id.label("asset_id"), AssetRow.storage_key, AssetRow.sha256, AssetRow.format, AssetRow.width,
    AssetRow.height, AssetRow.bytes,
)  # fmt: skip


def of_row(row: Any, urls: ObjectUrls) -> GenerationView:
    """From one row of `COLUMNS`."""
    return GenerationView(
        id=row.id,
        status=_status(row.status, row.run_at),
        engine=row.engine,
        template=row.template,
        input=row.request["input"],
        output=_output(row.template, row.request["output"]),
        project=row.project,
        metadata=row.metadata_,
        run_at=_time(row.run_at),
        created_at=clock.rfc3339(row.created_at),
        started_at=_time(row.started_at),
        ended_at=_time(row.ended_at),
        assets=[_asset(row, urls)] if row.asset_id and row.status == "succeeded" else [],
        reused=row.reused,
        credits=row.charged,
        error=FailureView(code=row.failure_code, detail=row.failure_detail) if row.failure_code else None,
    )


def output(canvas: Canvas) -> OutputView:
    width, height = canvas.pixels
    quality = canvas.quality if canvas.format in geometry.WITH_QUALITY else None
    return OutputView(format=canvas.format, width=width, height=height, quality=quality)


def _output(template: str, asked: dict[str, Any]) -> OutputView:
    """A template that is gone, or has another size now, leaves what was asked for."""
    wanted = msgspec.convert(asked, Output)
    try:
        return output(geometry.canvas(catalogue.get(template).size, wanted))
    except (TemplateNotFound, OutputInvalid):
        return OutputView(format=wanted.format, width=wanted.width, height=wanted.height, quality=wanted.quality)


def _asset(row: Any, urls: ObjectUrls) -> AssetView:
    return AssetView(
        id=row.asset_id,
        url=urls.sign(row.storage_key),
        format=row.format,
        width=row.width,
        height=row.height,
        bytes=row.bytes,
        sha256=row.sha256,
    )


def _status(stored: str, run_at: datetime | None) -> Status:
    """Nobody writes a row at the moment a scheduled generation falls due: it is queued from then on."""
    if stored == "scheduled" and run_at is not None and run_at <= clock.product():
        return "queued"
    return cast(Status, stored)


def _time(moment: datetime | None) -> str | None:
    return clock.rfc3339(moment) if moment else None

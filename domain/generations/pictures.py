"""Pictures that an input names, by a file's id or by an https address, made into local files before the render."""

import asyncio
import hashlib
import secrets
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import select

from domain.files.models import FileRow
from domain.templates import catalogue
from runtime import ids
from runtime.database import Reader
from runtime.outbound import downloads
from runtime.outbound.client import Outbound
from storage.base import ObjectStore

LARGEST: Final = 20 * 1024 * 1024
CONTENT_TYPES: Final = ("image/png", "image/jpeg", "image/webp")


class Upload(msgspec.Struct, frozen=True):
    """Where an uploaded picture lies."""

    storage_key: str
    sha256: str


class Fetched(msgspec.Struct, frozen=True):
    """A picture on the disk of this process; the caller deletes it."""

    path: Path
    sha256: str


class PictureMissingError(Exception):
    """The input names a file that the organization does not have. The text is the pointer in the input."""


def is_upload(reference: str) -> bool:
    """Whether it names a file of the organization; else it is an address."""
    return ids.is_id("file", reference)


async def uploads(tx: Reader, template: str, given: dict[str, Any]) -> dict[str, Upload]:
    """File id → upload, for those files of the input that exist."""
    references = catalogue.pictures(catalogue.get(template), given).values()
    wanted = [reference for reference in references if is_upload(reference)]
    if not wanted:
        return {}
    query = select(FileRow.id, FileRow.storage_key, FileRow.sha256).where(FileRow.id.in_(wanted))
    return {row.id: Upload(row.storage_key, row.sha256) for row in await tx.execute(query)}


async def fetch(
    template: str,
    given: dict[str, Any],
    known: dict[str, Upload],
    *,
    store: ObjectStore,
    outbound: Outbound,
    folder: Path,
) -> dict[str, Fetched]:
    """Pointer → file. Raises PictureMissingError, OutboundError, and what the store raises; what was fetched until
    then lies in `folder`.
    """
    references = catalogue.pictures(catalogue.get(template), given)
    fetched: dict[str, Fetched] = {}
    for pointer, reference in references.items():
        to = folder / f"picture-{secrets.token_hex(8)}"
        if is_upload(reference):
            if reference not in known:
                raise PictureMissingError(pointer)
            fetched[pointer] = await _copy(store, known[reference], to)
        else:
            got = await downloads.download(outbound, reference, to=to, max_bytes=LARGEST, content_types=CONTENT_TYPES)
            fetched[pointer] = Fetched(got.path, got.sha256)
    return fetched


async def _copy(store: ObjectStore, upload: Upload, to: Path) -> Fetched:
    data = await store.get(upload.storage_key)
    await asyncio.to_thread(to.write_bytes, data)
    return Fetched(to, hashlib.sha256(data).hexdigest())

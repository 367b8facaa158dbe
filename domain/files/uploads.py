"""Pictures that customers upload, to name them by id in an input.

The object is put first, the row is written after it, in the request's transaction: an object without a row is harmless.
Objects are known by their content and shared inside an organization, with images too, so deleting a file deletes its
row alone.
"""

import asyncio
import re
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import delete, insert, select

from domain import pages
from domain.events import log
from domain.files import inspection
from domain.files.errors import FileNotFound
from domain.files.events import FileDeleted, FileUploaded
from domain.files.models import FileRow
from runtime import clock, failpoints, ids
from runtime.children import ChildPool
from runtime.database import Reader, Transaction
from storage import keys
from storage.addresses import ObjectUrls
from storage.base import ObjectStore

LONGEST_NAME: Final = 200
NAMELESS: Final = "picture"

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A checked picture that lies in the store, not in the database yet."""

    storage_key: str
    content_type: str
    sha256: str
    bytes: int
    width: int
    height: int


class FileView(msgspec.Struct, frozen=True, kw_only=True):
    """What is said is true of the picture as it is kept. `url` is signed and expires."""

    id: str
    name: str
    content_type: str
    bytes: int
    width: int
    height: int
    sha256: str
    url: str
    created_at: datetime


async def store_picture(
    organization: str, data: bytes, *, store: ObjectStore, inspectors: ChildPool, scratch: Path
) -> Stored:
    """Checks it, makes it harmless and puts it. `scratch` is a folder on the local store's file system.

    Raises FileTooLarge, PictureTooLarge, PictureUnreadable, InspectionUnavailable, and what the store raises.
    """
    picture = await inspection.inspect(inspectors, data, folder=scratch)
    path = Path(picture.path)
    try:
        failpoints.hit("upload.after_inspection")
        key = keys.content_key(organization, picture.sha256, picture.format)
        await store.put_file(key, path, content_type=picture.content_type, sha256=picture.sha256)
        failpoints.hit("upload.after_put")
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    return Stored(
        storage_key=key,
        content_type=picture.content_type,
        sha256=picture.sha256,
        bytes=picture.bytes,
        width=picture.width,
        height=picture.height,
    )


async def add(tx: Transaction, organization: str, name: str, stored: Stored, urls: ObjectUrls) -> FileView:
    """`name` is what the customer calls it; anything will do."""
    row = msgspec.structs.asdict(stored) | {
        "id": ids.new("file"),
        "name": _shown(name),
        "created_at": clock.machine(),
    }
    await tx.execute(insert(FileRow).values(organization_id=organization, **row))
    fact = FileUploaded(subject=row["id"], content_type=stored.content_type, bytes=stored.bytes)
    await log.append(tx, organization, fact)
    return _view(row, urls)


async def page(tx: Reader, wanted: pages.PageRequest, urls: ObjectUrls) -> pages.Page[FileView]:
    """Newest first."""
    found = await pages.rows(tx, select(*_SHOWN), FileRow.id, wanted)  # type: ignore[arg-type]
    return pages.Page([_view(row._mapping, urls) for row in found.items], found.last)  # noqa: SLF001 - documented


async def one(tx: Reader, file_id: str, urls: ObjectUrls) -> FileView:
    """Raises FileNotFound."""
    row = (await tx.execute(select(*_SHOWN).where(FileRow.id == file_id))).one_or_none()
    if row is None:
        raise FileNotFound
    return _view(row._mapping, urls)  # noqa: SLF001 - SQLAlchemy's documented accessor


async def remove(tx: Transaction, organization: str, file_id: str) -> None:
    """A generation that names the file and was not rendered yet fails. Raises FileNotFound."""
    gone = await tx.execute(delete(FileRow).where(FileRow.organization_id == organization, FileRow.id == file_id))
    if gone.rowcount != 1:
        raise FileNotFound
    await log.append(tx, organization, FileDeleted(subject=file_id))


_KEPT = ("id", "name", "content_type", "bytes", "width", "height", "sha256", "created_at")
_SHOWN = tuple(getattr(FileRow, name) for name in (*_KEPT, "storage_key"))


def _view(row: Any, urls: ObjectUrls) -> FileView:
    return FileView(**{name: row[name] for name in _KEPT}, url=urls.sign(row["storage_key"]))


def _shown(name: str) -> str:
    """The last part of a path, without what could disguise it on a screen."""
    last = re.split(r"[/\\]", _UNPRINTABLE.sub("", name))[-1].strip()
    return last[:LONGEST_NAME] or NAMELESS

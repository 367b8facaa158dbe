"""Images that were made: adding them, and finding one that is wanted again."""

from collections.abc import Awaitable, Callable

import msgspec
from sqlalchemy import insert

from domain.generations.models import AssetRow
from domain.templates.geometry import Format
from runtime.database import Transaction


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """One stored image. `identity` is the SHA-256 of all that decides its bytes, `sha256` that of the bytes."""

    identity: str
    storage_key: str
    sha256: str
    format: Format
    width: int
    height: int
    bytes: int
    reused: bool = False


class Wanted(msgspec.Struct, frozen=True):
    """An image that may have been made for the organization before."""

    organization_id: str
    identity: str


FindImage = Callable[[Wanted], Awaitable[Image | None]]
"""A tool of actors: the image that was made before, marked as reused (`batches.find`, for many at once)."""


async def add(tx: Transaction, organization: str, generation_id: str, asset_id: str, image: Image) -> None:
    await tx.execute(
        insert(AssetRow).values(
            organization_id=organization,
            id=asset_id,
            generation_id=generation_id,
            identity=image.identity,
            storage_key=image.storage_key,
            sha256=image.sha256,
            format=image.format,
            width=image.width,
            height=image.height,
            bytes=image.bytes,
        )
    )

"""Images that were made: adding them, and finding one that is wanted again."""

import msgspec
from sqlalchemy import insert, select

from domain.generations.models import AssetRow
from domain.templates.geometry import Format
from runtime.database import Reader, Transaction


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


async def find(tx: Reader, identity: str) -> Image | None:
    """An image of the same identity made for the transaction's organization before."""
    query = (
        select(
            AssetRow.identity, AssetRow.storage_key, AssetRow.sha256, AssetRow.format, AssetRow.width, AssetRow.height,
            AssetRow.bytes,
        )
        .where(AssetRow.identity == identity)
        .limit(1)
    )  # fmt: skip
    row = (await tx.execute(query)).one_or_none()
    return Image(**row._mapping, reused=True) if row else None  # noqa: SLF001 - SQLAlchemy's documented accessor


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

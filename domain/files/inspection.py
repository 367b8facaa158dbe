"""Having a picture checked and written anew by a child process. Both sides import this."""

import secrets
from pathlib import Path
from typing import Final, Literal

import msgspec

from domain.errors import DomainError
from domain.files.errors import FileTooLarge, InspectionUnavailable, PictureTooLarge, PictureUnreadable
from runtime.children import ChildDiedError, ChildPool, Limits

LARGEST_FILE: Final = 20 * 1024 * 1024
"""Of what is sent, in bytes."""
LARGEST_KEPT: Final = 25_000_000
"""Of what is kept: written anew, a picture may be larger than it was."""

Format = Literal["png", "jpeg", "webp"]

_PROGRAM = "domain.files.inspector"
# Somebody waits for the answer, so it is not made to stand back; what is slow by itself meets the CPU limit first.
_LIMITS = Limits(cpu=10.0, wall=25.0, file=2 * LARGEST_KEPT, niceness=0, recycle_after=100)
_REFUSALS: dict[str, type[DomainError]] = {kind.code: kind for kind in (PictureTooLarge, PictureUnreadable)}


class Order(msgspec.Struct, frozen=True):
    """A picture as it was sent, and the file that is to be written."""

    data: bytes
    target: str


class Inspected(msgspec.Struct, frozen=True, tag="inspected"):
    """A harmless picture in a finished file; what is said of it is true of the file, not of what was sent."""

    path: str
    format: Format
    sha256: str
    bytes: int
    width: int
    height: int

    @property
    def content_type(self) -> str:
        return f"image/{self.format}"


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """`detail` may be shown to the customer."""

    code: str
    detail: str


def open_pool(scratch: Path) -> ChildPool:
    """One child, started when the first picture comes: uploads are rare, and each may need much memory."""
    return ChildPool(_PROGRAM, size=1, scratch=scratch, limits=_LIMITS)


async def inspect(pool: ChildPool, data: bytes, *, folder: Path) -> Inspected:
    """Leaves a new file in `folder`, which the caller moves or deletes.

    Raises FileTooLarge, PictureTooLarge, PictureUnreadable, InspectionUnavailable.
    """
    if len(data) > LARGEST_FILE:
        raise FileTooLarge
    try:
        answer = await pool.call(msgspec.msgpack.encode(_order(data, folder)))
    except ChildDiedError as error:
        if error.reason in {"timed_out", "out_of_memory"}:
            raise PictureTooLarge("unpacking the picture takes too much time or memory") from error
        raise InspectionUnavailable(retry_after=1) from error
    outcome = msgspec.msgpack.decode(answer, type=Inspected | Refused)
    if isinstance(outcome, Refused):
        raise _REFUSALS[outcome.code](outcome.detail)
    return outcome


def _order(data: bytes, folder: Path) -> Order:
    """The child has another working directory."""
    return Order(data, str(folder.absolute() / f"upload-{secrets.token_hex(16)}"))

"""What the renderer's child process is told and what it answers. Both sides import this and nothing heavier."""

from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from domain.templates.geometry import Canvas

RENDERER = f"1 typst {version('typst')} pillow {version('pillow')} segno {version('segno')}"
"""Part of an image's identity: when this changes, the same input may give other bytes."""

Message = TypeVar("Message")


class Setup(msgspec.Struct, frozen=True):
    """`templates` is the folder of all templates; `packs` a folder with further fonts, or none."""

    templates: Path
    packs: Path | None = None


class Shelf(msgspec.Struct, frozen=True):
    """Where the store of this machine lies (`storage.shelf`), and in whose name the image is put there."""

    folder: Path
    namespace: str
    content_type: str


class Order(msgspec.Struct, frozen=True):
    """`pictures` maps JSON pointers inside the input to local files. `target` is the file to write, unless there is a
    `shelf`: then the image is put there, under its content's key.
    """

    template: str
    input: dict[str, Any]
    canvas: Canvas
    pictures: dict[str, Path]
    target: Path
    shelf: Shelf | None = None


class Rendered(msgspec.Struct, frozen=True, tag="rendered"):
    """A finished file, or an object on the shelf. `width` and `height` are pixels, in a PDF points; times are ms."""

    path: Path
    sha256: str
    size: int
    width: int
    height: int
    render_ms: float
    write_ms: float


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The input can never become an image; `detail` may be shown to the customer."""

    code: str
    detail: str


class Unstored(msgspec.Struct, frozen=True, tag="unstored"):
    """It was drawn, but the shelf took nothing: there is no space, or no store."""

    full: bool
    detail: str


def unfinished(target: Path) -> Path:
    """Under this name a file is written; under its own it is always whole."""
    return target.with_name(f"{target.name}.part")


def discard(target: Path) -> None:
    """What a child may have left that did not live to answer."""
    target.unlink(missing_ok=True)
    unfinished(target).unlink(missing_ok=True)


def encode(message: object) -> bytes:
    return msgspec.msgpack.encode(message, enc_hook=str)


def decode(body: bytes, kind: type[Message]) -> Message:
    return msgspec.msgpack.decode(body, type=kind, dec_hook=_path)


def decode_outcome(body: bytes) -> Rendered | Refused | Unstored:
    return _outcomes.decode(body)


def _path(kind: type, value: object) -> object:
    return kind(value)


_outcomes: msgspec.msgpack.Decoder[Rendered | Refused | Unstored] = msgspec.msgpack.Decoder(
    Rendered | Refused | Unstored, dec_hook=_path
)
"""Made once: to look at a union takes longer than to read it."""

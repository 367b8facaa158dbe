"""The program of the child process that checks uploaded pictures. What it keeps is written anew from the pixels: turned
upright, in sRGB, without metadata, comments, profiles or anything that was appended to the file.
"""

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from PIL import Image, ImageOps

from domain.files import decoding
from domain.files.decoding import PictureRefusedError
from domain.files.inspection import LARGEST_KEPT, Format, Inspected, Order, Refused

_HOW: Final[dict[Format, dict[str, Any]]] = {
    "png": {"compress_level": 6},
    "jpeg": {"quality": 92, "subsampling": 0, "progressive": True},
    "webp": {"quality": 92, "method": 4},
}


def inspect(order: Order) -> Inspected | Refused:
    try:
        with decoding.opened(io.BytesIO(order.data)) as opened:
            kept = _format(opened)
            picture = decoding.coloured(ImageOps.exif_transpose(opened))
        body = _encoded(picture, kept)
    except PictureRefusedError as refusal:
        return Refused(refusal.code, refusal.detail)
    _write(Path(order.target), body)
    return Inspected(
        path=order.target,
        format=kept,
        sha256=hashlib.sha256(body).hexdigest(),
        bytes=len(body),
        width=picture.width,
        height=picture.height,
    )


def _format(opened: Image.Image) -> Format:
    """By content; what the sender calls it is of no interest."""
    kept: Format = msgspec.convert(str(opened.format).lower(), Format)
    return kept


def _encoded(picture: Image.Image, kept: Format) -> bytes:
    clean = Image.new(picture.mode, picture.size)
    clean.paste(picture)  # pixels alone: `info` stays behind
    written = io.BytesIO()
    try:
        clean.save(written, kept, **_HOW[kept])
    except ValueError:  # WebP's encoder has bounds of its own
        raise PictureRefusedError("picture_too_large", "the picture has too much detail for its format") from None
    if written.tell() > LARGEST_KEPT:
        text = f"written anew, the picture has more than {LARGEST_KEPT // 1_000_000} MB"
        raise PictureRefusedError("picture_too_large", text)
    return written.getvalue()


def _write(target: Path, body: bytes) -> None:
    """On the disk before the answer is given."""
    with target.open("xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _handle(call: bytes) -> bytes:
    return msgspec.msgpack.encode(inspect(msgspec.msgpack.decode(call, type=Order)))


def start(_init: bytes) -> Callable[[bytes], bytes]:
    return _handle

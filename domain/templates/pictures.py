"""Pictures that come from outside, made harmless: checked before they are decoded, turned upright, brought to sRGB,
made no larger than needed, and written anew without metadata. Runs in the renderer's child process.
"""

from pathlib import Path

from PIL import Image, ImageOps

from domain.files import decoding
from domain.files.decoding import PictureRefusedError

__all__ = ["PictureRefusedError", "prepare"]

LARGEST_FILE = 25_000_000


def prepare(source: Path, target: Path, most: int) -> Path:
    """Writes `target` with the suffix that fits, its longer side at most `most` pixels. Raises PictureRefusedError."""
    if source.stat().st_size > LARGEST_FILE:
        raise PictureRefusedError("picture_too_large", f"a picture may have {LARGEST_FILE // 1_000_000} MB")
    with decoding.opened(source) as opened:
        opened.draft("RGB", (most, most))
        picture = _shrunk(decoding.coloured(ImageOps.exif_transpose(opened)), most)
    return _written(picture, target)


def _shrunk(picture: Image.Image, most: int) -> Image.Image:
    if max(picture.size) > most:
        picture.thumbnail((most, most), Image.Resampling.LANCZOS)
    return picture


def _written(picture: Image.Image, target: Path) -> Path:
    if picture.mode == "RGBA":
        path = target.with_suffix(".png")
        picture.save(path, "PNG", compress_level=1)
    else:
        path = target.with_suffix(".jpg")
        picture.save(path, "JPEG", quality=95, subsampling=0)
    return path

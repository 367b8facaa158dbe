"""Pictures that come from outside, made harmless: checked before they are decoded, turned upright, brought to sRGB,
made no larger than needed, and written anew without metadata. Runs in the renderer's child process.
"""

import io
from pathlib import Path

from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP")
LARGEST_AREA = 25_000_000
LARGEST_FILE = 25_000_000

ImageFile.LOAD_TRUNCATED_IMAGES = False


class PictureRefusedError(Exception):
    """This picture can never be used. `detail` may be shown to the customer."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def prepare(source: Path, target: Path, most: int) -> Path:
    """Writes `target` with the suffix that fits, its longer side at most `most` pixels. Raises PictureRefusedError."""
    try:
        if source.stat().st_size > LARGEST_FILE:
            raise PictureRefusedError("picture_too_large", f"a picture may have {LARGEST_FILE // 1_000_000} MB")
        with Image.open(source, formats=FORMATS) as opened:
            if opened.width * opened.height > LARGEST_AREA:
                text = f"{opened.width} x {opened.height} pixels are more than {LARGEST_AREA // 1_000_000} megapixels"
                raise PictureRefusedError("picture_too_large", text)
            opened.draft("RGB", (most, most))
            picture = _shrunk(_coloured(ImageOps.exif_transpose(opened)), most)
    except Image.DecompressionBombError:
        raise PictureRefusedError("picture_too_large", "the picture is too large when it is unpacked") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise PictureRefusedError("picture_unreadable", "the picture is not a whole PNG, JPEG or WebP file") from None
    return _written(picture, target)


def _coloured(picture: Image.Image) -> Image.Image:
    """RGB or RGBA in sRGB."""
    profile = picture.info.get("icc_profile")
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    if profile and picture.mode in {"RGB", "RGBA", "CMYK"}:
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(picture, own, ImageCms.createProfile("sRGB"), outputMode=mode)
        except ImageCms.PyCMSError:
            converted = None  # a broken profile says nothing about the colours
        if converted is not None:
            return converted
    return picture.convert(mode)


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

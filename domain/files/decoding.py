"""Pictures that come from outside are opened here and nowhere else, always in a child process: the decoders are chosen
by name, the size is checked before anything is unpacked, and whatever goes wrong is a refusal.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image, ImageCms, ImageFile

FORMATS: Final = ("PNG", "JPEG", "WEBP")
LARGEST_AREA: Final = 25_000_000

ImageFile.LOAD_TRUNCATED_IMAGES = False


class PictureRefusedError(Exception):
    """This picture can never be used. `detail` may be shown to the customer."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@contextlib.contextmanager
def opened(source: Path | BinaryIO) -> Iterator[Image.Image]:
    """Not unpacked yet; all that is done with the pixels belongs inside. Of a moving picture the first frame is seen.

    Raises PictureRefusedError.
    """
    try:
        with Image.open(source, formats=FORMATS) as picture:
            _check_area(picture)
            yield picture
    except (PictureRefusedError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureRefusedError("picture_too_large", "the picture is too large when it is unpacked") from None
    except Exception:  # noqa: BLE001 - decoders meet hostile bytes with errors of every kind
        raise PictureRefusedError("picture_unreadable", "the picture is not a whole PNG, JPEG or WebP file") from None


def _check_area(picture: Image.Image) -> None:
    if picture.width * picture.height > LARGEST_AREA:
        text = f"{picture.width} x {picture.height} pixels are more than {LARGEST_AREA // 1_000_000} megapixels"
        raise PictureRefusedError("picture_too_large", text)


def coloured(picture: Image.Image) -> Image.Image:
    """RGB or RGBA in sRGB."""
    profile = picture.info.get("icc_profile")
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    if profile and picture.mode in {"RGB", "RGBA", "CMYK"}:
        try:
            own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(picture, own, ImageCms.createProfile("sRGB"), outputMode=mode)
        except (ImageCms.PyCMSError, OSError):
            converted = None  # a broken profile says nothing about the colours
        if converted is not None:
            return converted
    if picture.mode.startswith("I"):  # 16 bits of grey, which a plain conversion would cut off at 8
        picture = picture.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return picture.convert(mode)

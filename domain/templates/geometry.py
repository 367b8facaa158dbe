"""What size an image gets. A template has a natural size in pixels; `width` and `height` give it another page, on which
it is laid out anew (one of them alone keeps the proportions); `scale` multiplies the pixels of a finished page.
"""

from typing import Annotated, Literal

import msgspec

from domain.errors import FieldError
from domain.templates.errors import OutputInvalid

Format = Literal["png", "jpeg", "webp", "pdf"]

MEDIA_TYPES: dict[Format, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "pdf": "application/pdf",
}

SMALLEST_SIDE, LARGEST_SIDE = 16, 8192
LARGEST_AREA = 25_000_000
DEFAULT_QUALITY = 85
WITH_QUALITY: frozenset[Format] = frozenset({"jpeg", "webp"})


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The `output` of a request. `scale` is for pixels only (a PDF has none), `quality` for JPEG and WebP only."""

    format: Format = "png"
    width: Annotated[int, msgspec.Meta(ge=SMALLEST_SIDE, le=LARGEST_SIDE)] | None = None
    height: Annotated[int, msgspec.Meta(ge=SMALLEST_SIDE, le=LARGEST_SIDE)] | None = None
    scale: Annotated[float, msgspec.Meta(ge=0.1, le=4)] | None = None
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None


class Canvas(msgspec.Struct, frozen=True):
    """An output resolved for one template: the page in layout units, and the pixels per unit."""

    format: Format
    width: int
    height: int
    scale: float
    quality: int

    @property
    def pixels(self) -> tuple[int, int]:
        return _pixels(self.width, self.scale), _pixels(self.height, self.scale)


def canvas(natural: tuple[int, int], output: Output) -> Canvas:
    """Raises OutputInvalid with pointers into `/output`, before anything is drawn."""
    if output.scale is not None and output.format == "pdf":
        raise _refused("scale", "a PDF has no pixels to multiply; give width and height")
    if output.quality is not None and output.format not in WITH_QUALITY:
        raise _refused("quality", "only JPEG and WebP have a quality")
    width, height = _page(natural, output)
    resolved = Canvas(output.format, width, height, output.scale or 1.0, output.quality or DEFAULT_QUALITY)
    across, down = resolved.pixels
    if min(across, down) < SMALLEST_SIDE or max(across, down) > LARGEST_SIDE:
        text = f"{across} x {down} pixels: each side must have {SMALLEST_SIDE} to {LARGEST_SIDE}"
        raise _refused(_wished(output), text)
    if across * down > LARGEST_AREA:
        text = f"{across} x {down} pixels are more than {LARGEST_AREA // 1_000_000} megapixels"
        raise _refused(_wished(output), text)
    return resolved


def _page(natural: tuple[int, int], output: Output) -> tuple[int, int]:
    width, height = output.width, output.height
    if width is None and height is None:
        return natural
    if height is None and width is not None:
        return width, max(1, round(width * natural[1] / natural[0]))
    if width is None and height is not None:
        return max(1, round(height * natural[0] / natural[1])), height
    return width or natural[0], height or natural[1]


def _pixels(side: int, scale: float) -> int:
    """As Typst rounds: half away from zero."""
    return max(1, int(side * scale + 0.5))


def _wished(output: Output) -> str:
    return next((name for name in ("scale", "width", "height") if getattr(output, name) is not None), "format")


def _refused(field: str, detail: str) -> OutputInvalid:
    return OutputInvalid(fields=(FieldError(f"/output/{field}", detail),))

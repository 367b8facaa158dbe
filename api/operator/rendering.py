"""The operator's pages: `pages/<name>.html.j2`, with nothing from outside and no script.

Everything is escaped; what customers wrote is shown as text. Widths are attributes of SVG, as the content security
policy allows no styles within the page.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response

from api.operator import waterfall
from runtime.settings import Settings
from runtime.version import VERSION

PAGES: Final = Path(__file__).parent / "pages"
LONGEST_TEXT: Final = 20_000
"""Characters of a customer's input that a page shows."""

STYLE: Final = (PAGES / "operator.css").read_bytes()
ICON: Final = (PAGES / "icon.svg").read_bytes()
_MARK: Final = hashlib.sha256(STYLE).hexdigest()[:12]


def page(
    settings: Settings,
    name: str,
    context: Mapping[str, object],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response[str]:
    return Response(
        _templates.get_template(f"{name}.html.j2").render(context),
        status_code=status,
        media_type="text/html; charset=utf-8",
        headers={**guarded(settings), **(headers or {})},
    )


def guarded(settings: Settings) -> dict[str, str]:
    """Headers of everything that shows customers' own; images come from where customers get them."""
    images = "{0.scheme}://{0.netloc}".format(urlsplit(settings.public_url))
    policy = f"default-src 'none'; style-src 'self'; img-src 'self' {images}; form-action 'self'; base-uri 'none'"
    return {
        "content-security-policy": f"{policy}; frame-ancestors 'none'",
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "cross-origin-opener-policy": "same-origin",
    }


def duration(ms: float | None) -> str:
    """`8.3 ms`, `84 ms`, `4.21 s`, `4 min 12 s`, `3 h 5 min`, `2 d 4 h`."""
    if ms is None:
        return ""
    if ms < 0:
        return f"−{duration(-ms)}"
    if ms < 999.5:
        return f"{ms:.1f} ms" if ms < 9.95 else f"{ms:.0f} ms"
    if ms < 59_995:
        return f"{ms / 1000:.2f} s" if ms < 9_995 else f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def size(count: int) -> str:
    """Decimal units."""
    if count < 1_000:
        return f"{count} bytes"
    return f"{count / 1_000:.1f} KB" if count < 999_950 else f"{count / 1_000_000:.1f} MB"


def _day(moment: datetime) -> str:
    utc = moment.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y}"


def _clock(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[11:23]


def _exact(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _json(value: object) -> str:
    text = msgspec.json.format(msgspec.json.encode(value)).decode()
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}\n… ({len(text)} characters)"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _percent(value: float) -> str:
    return f"{value:.3f}%"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Any] = {
        "duration": duration, "size": size, "day": _day, "clock": _clock, "exact": _exact, "json": _json,
        "plain": _plain, "percent": _percent,
    }  # fmt: skip
    environment.filters |= filters
    environment.globals |= {"version": VERSION, "style": f"/operator.css?v={_MARK}", "labels": waterfall.LABELS}
    return environment


_templates = _environment()

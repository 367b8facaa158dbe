"""Mails from templates: `mail_templates/<kind>.{subject,txt,html}.j2`, each with a list of what it needs on top.

A value that is missing fails the rendering (StrictUndefined) rather than leaving a gap. In HTML everything is escaped;
words that users wrote go through `clean`, in text and subjects through `one_line`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from domain.notifications import sanitising

Kind = Literal["image_ready", "image_failed"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Rendered(msgspec.Struct, frozen=True):
    subject: str
    text: str
    html: str


def render(kind: Kind, context: Mapping[str, object]) -> Rendered:
    """Raises jinja2.UndefinedError when `context` lacks a value that the templates name."""
    subject, text, html = (
        _templates.get_template(f"{kind}.{part}.j2").render(context) for part in ("subject", "txt", "html")
    )
    return Rendered(subject=sanitising.one_line(subject), text=text, html=html)


def file_size(count: int) -> str:
    """Decimal units, as file managers show them: `482 bytes`, `312 KB`, `1.4 MB`."""
    if count < 1000:
        return f"{count} byte{'' if count == 1 else 's'}"
    if count < 999_500:
        return f"{count / 1000:.0f} KB"
    return f"{count / 1_000_000:.1f} MB"


def credits(count: int) -> str:
    return f"{count} credit{'' if count == 1 else 's'}"


def day_and_time(moment: datetime) -> str:
    """`20 November 2026, 08:30 UTC`: said with its zone, since a mail doesn't know its reader's."""
    utc = moment.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def _clean(text: str) -> Markup:
    return Markup(sanitising.clean_html(text))  # noqa: S704 - clean_html is what makes it safe


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "mail_templates"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "clean": _clean,
        "one_line": sanitising.one_line,
        "file_size": file_size,
        "credits": credits,
        "day_and_time": day_and_time,
    }
    return environment


_templates = _environment()

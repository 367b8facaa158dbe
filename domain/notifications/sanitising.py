"""Words that users wrote, made safe to show to other people in a mail."""

import re
import unicodedata

import bleach

_TAGS = frozenset({"b", "br", "code", "em", "i", "s", "strong", "u"})
"""No links and no pictures: what a user writes must not become a link in a mail of ours."""

_BIDI_CONTROLS = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""They turn the direction of what follows them (`\u202egnp.exe`); marks, which don't, stay."""

_BREAKING = {"Cc", "Cs", "Zl", "Zp"}


def clean_html(text: str) -> str:
    """HTML with a few plain tags and nothing else; other tags are shown as they were typed, not dropped.

    The one use of bleach, which has no maintainer any more: `nh3.clean(text, tags=…)` takes its place in this line.
    """
    return str(bleach.clean(_BIDI_CONTROLS.sub("", text), tags=_TAGS, attributes={}, protocols=set()))


def one_line(text: str, limit: int = 0) -> str:
    """For subjects and names: line breaks and control characters become spaces, spaces are joined; cut with `…` when
    longer than `limit` (0: not at all).
    """
    visible = "".join(" " if unicodedata.category(character) in _BREAKING else character for character in text)
    line = " ".join(_BIDI_CONTROLS.sub("", visible).split())
    return f"{line[: limit - 1].rstrip()}…" if 0 < limit < len(line) else line

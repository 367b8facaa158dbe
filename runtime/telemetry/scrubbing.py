"""Takes secrets out of what is about to be written down: by the name of a field, by the look of a value, and by the
values of the process's own secret settings, wherever they turn up.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from runtime.settings import Secret, Settings

HIDDEN = "***"
MAX_DEPTH = 6
MAX_TEXT = 16_384
SHORTEST_KNOWN = 6
"""Shorter secrets are not searched for by value: they would turn up in half of all words."""

_NAMES = r"authorization|secret|token|passw(?:or)?d|passphrase|api[-_]?key|signing[-_]?key|credential|signature"
_SECRET_NAME = re.compile(rf"cookie|{_NAMES}", re.IGNORECASE)
_NAMED_VALUE = rf"""
    ((?:{_NAMES})\w*)              # a name, then what parts it from its value in code, JSON, a query, a header:
    (["']?\s*[:=]\s*|["']\s*,\s*b?(?=["']))
    (?:(?:bearer|basic)\s+)?
    (?:"[^"]*"|'[^']*'|[^\s"',;&)\]}}]+)
"""
_PATTERNS = (
    (re.compile(r"\b(atl|whsec)_[A-Za-z0-9+/=_-]+"), rf"\1_{HIDDEN}"),
    (re.compile(r"(://[^\s:/@]*):[^\s/]*@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"\b(cookie\s*[:=]).*", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(_NAMED_VALUE, re.IGNORECASE | re.VERBOSE), rf"\1\2{HIDDEN}"),
    (re.compile(r"\b(bearer)\s+[A-Za-z0-9+/=._~-]+", re.IGNORECASE), rf"\1 {HIDDEN}"),
)


class Scrubber:
    """`known` are secrets that this process holds, as settings give them: tokens, keys, addresses with passwords."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        parts = sorted({part for secret in known for part in _parts(secret)}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, parts))) if parts else None

    def text(self, text: str) -> str:
        # what lies far behind the cut is not searched, but a secret across the cut is still seen whole
        scrubbed = text[: 4 * MAX_TEXT]
        if self._known:
            scrubbed = self._known.sub(HIDDEN, scrubbed)
        for pattern, replacement in _PATTERNS:
            scrubbed = pattern.sub(replacement, scrubbed)
        return scrubbed if len(text) <= MAX_TEXT else f"{scrubbed[:MAX_TEXT]}… ({len(text)} characters)"

    def value(self, value: Any, depth: int = 0) -> Any:
        """Made of dicts, lists, text, numbers, booleans and None, whatever it was."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping) and depth < MAX_DEPTH:
            return self.fields(value, depth)
        if isinstance(value, list | tuple | set | frozenset) and depth < MAX_DEPTH:
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, bytes | bytearray):
            return self.text(value.decode(errors="replace"))
        return self.text(str(value))

    def fields(self, fields: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
        return {
            (text := self.text(str(name))): HIDDEN if _is_secret(text) else self.value(value, depth + 1)
            for name, value in fields.items()
        }


def of_settings(settings: Settings) -> Scrubber:
    """Knows every secret that the settings hold."""
    return Scrubber(value for value in msgspec.structs.asdict(settings).values() if isinstance(value, Secret))


def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _parts(secret: str) -> Iterable[str]:
    """What of a setting must not be seen: an address's password as written and as meant, each key of a list."""
    if "://" in secret:
        password = urlsplit(secret).password or ""
        candidates = [password, unquote(password)]
    else:
        candidates = [secret, *re.split(r"[,:]", secret)]
    return (part for part in candidates if len(part) >= SHORTEST_KNOWN)

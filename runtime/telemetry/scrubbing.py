"""Takes secrets out of what is about to be written down: by the name of a field, by the look of a value, and by the
values of the process's own secret settings, wherever they turn up.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from runtime.settings import Secret, Settings

HIDDEN = "***"
MAX_DEPTH = 6
MAX_TEXT = 16_384
MAX_INTEGER = 2**63
SHORTEST_KNOWN = 6
"""Shorter secrets are not searched for by value: they would turn up in half of all words."""

_NAMES = r"authorization|secret|token|passw(?:or)?d|passphrase|api[-_]?key|signing[-_]?key|credential|signature"
_ROOTS = ("authorization", "secret", "token", "passw", "passphrase", "key", "credential", "signature")
_SECRET_NAME = re.compile(rf"cookie|{_NAMES}", re.IGNORECASE)
_NAMED_VALUE = rf"""
    ((?:{_NAMES})\w*)              # a name, then what parts it from its value in code, JSON, a query, a header:
    (["']?\s*[:=]\s*|["']\s*,\s*b?(?=["']))
    (?:(?:bearer|basic)\s+)?
    (?:"[^"]*"|'[^']*'|[^\s"',;&)\]}}]+)
"""
# what each pattern can't do without, in lower case: looking for that first spares nearly every text the patterns
_PATTERNS = (
    (("atl_", "whsec_"), re.compile(r"(atl|whsec)_[A-Za-z0-9+/=_-]{6,}"), rf"\1_{HIDDEN}"),
    (("://",), re.compile(r"(://[^\s:/@]*):[^\s/]*@"), rf"\1:{HIDDEN}@"),
    (("cookie",), re.compile(r"\b(cookie\s*[:=]).*", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (_ROOTS, re.compile(_NAMED_VALUE, re.IGNORECASE | re.VERBOSE), rf"\1\2{HIDDEN}"),
    (("bearer",), re.compile(r"\b(bearer)\s+[A-Za-z0-9+/=._~-]+", re.IGNORECASE), rf"\1 {HIDDEN}"),
)


class Scrubber:
    """`known` are secrets that this process holds, as settings give them: tokens, keys, addresses with passwords."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        parts = sorted({part for secret in known for part in _parts(secret)}, key=len, reverse=True)
        self._known = parts
        self._name = functools.lru_cache(maxsize=1024)(self._read_name)

    def text(self, text: str) -> str:
        # what lies far behind the cut is not searched, but a secret across the cut is still seen whole
        scrubbed = text[: 4 * MAX_TEXT]
        if not scrubbed.isascii():
            scrubbed = scrubbed.encode(errors="replace").decode()
        for secret in self._known:
            scrubbed = scrubbed.replace(secret, HIDDEN)
        lowered = scrubbed.lower()
        for needed, pattern, replacement in _PATTERNS:
            if any(part in lowered for part in needed):
                scrubbed = pattern.sub(replacement, scrubbed)
        return scrubbed if len(text) <= MAX_TEXT else f"{scrubbed[:MAX_TEXT]}… ({len(text)} characters)"

    def value(self, value: Any, depth: int = 0) -> Any:
        """Made of dicts, lists, text, numbers, booleans and None, whatever it was."""
        if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < MAX_INTEGER):
            return value
        if isinstance(value, Mapping) and depth < MAX_DEPTH:
            return self.fields(value, depth)
        if isinstance(value, list | tuple | set | frozenset) and depth < MAX_DEPTH:
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, bytes | bytearray):
            return self.text(value.decode(errors="replace"))
        try:
            return self.text(str(value))
        except Exception:  # noqa: BLE001 whatever a stranger's __str__ does, the line is written
            return f"<{type(value).__name__}>"

    def fields(self, fields: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
        scrubbed: dict[str, Any] = {}
        for name, value in fields.items():
            text, is_secret = self._name(str(name))
            scrubbed[text] = HIDDEN if is_secret else self.value(value, depth + 1)
        return scrubbed

    def _read_name(self, name: str) -> tuple[str, bool]:
        return self.text(name), _SECRET_NAME.search(name) is not None


def of_settings(settings: Settings) -> Scrubber:
    """Knows every secret that the settings hold."""
    return Scrubber(value for value in msgspec.structs.asdict(settings).values() if isinstance(value, Secret))


def _parts(secret: str) -> Iterable[str]:
    """What of a setting must not be seen: an address's password as written and as meant, each key of a list."""
    if "://" in secret:
        password = urlsplit(secret).password or ""
        candidates = [password, unquote(password)]
    else:
        candidates = [secret, *re.split(r"[,:]", secret)]
    return (part for part in candidates if len(part) >= SHORTEST_KNOWN)

"""The fonts that are shipped, and those of optional packs (CJK, colour emoji) in a folder that the operator names.

They are always loaded by path, never from the system: the same input gives the same bytes on every machine.
"""

import hashlib
from pathlib import Path

SHIPPED = Path(__file__).parent / "fonts"

_SUFFIXES = frozenset({".otf", ".ttf", ".ttc", ".otc"})
_SANS = ("Inter-", "NotoSans")


def folders(packs: Path | None) -> list[Path]:
    return [SHIPPED] if packs is None else [SHIPPED, packs]


def files(packs: Path | None) -> list[Path]:
    """In an order that is the same everywhere."""
    found = [path for folder in folders(packs) for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES]
    return sorted(found, key=lambda path: (path.name, path))


def for_any_words(packs: Path | None) -> list[Path]:
    """Those that every text may fall back on: the kit's `sans`. The others are for display and serifs."""
    return [path for path in files(packs) if path.parent != SHIPPED or path.name.startswith(_SANS)]


def digest(packs: Path | None) -> str:
    """SHA-256 over the contents of all files; it is part of what makes two images the same."""
    whole = hashlib.sha256()
    for one in sorted(hashlib.sha256(path.read_bytes()).digest() for path in files(packs)):
        whole.update(one)
    return whole.hexdigest()

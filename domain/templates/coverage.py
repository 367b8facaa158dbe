"""Which characters can be drawn: what the `cmap` tables of the fonts say (OpenType, `otff` and `cmap`)."""

import struct
import unicodedata
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Final

_COLLECTION: Final = b"ttcf"
_FULL: Final = {(3, 10), (0, 4), (0, 6)}
"""Platform and encoding of subtables that know all of Unicode; the others know its first plane."""
_FIRST_PLANE: Final = {(3, 1), (0, 3)}
_JOINER: Final = 0x034F
_SHAPELESS: Final = {"Cc", "Cf"}
_SELECTORS: Final = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


def of(files: Iterable[Path]) -> frozenset[int]:
    """Code points that at least one font has a glyph for."""
    covered: set[int] = set()
    for path in files:
        body = path.read_bytes()
        for start in _faces(body):
            for points in _points(body, start):
                covered.update(points)
    return frozenset(covered)


def missing(words: str, covered: Container[int]) -> list[str]:
    """Characters that would be drawn as an empty box, each once. A letter may be composed of its parts, or its parts of
    the letter; what has no shape of its own (spaces, joiners, controls, variation selectors) is never missing.
    """
    if words.isascii() and words.isprintable():
        return []
    composed = dict.fromkeys(unicodedata.normalize("NFC", words))
    return [character for character in composed if not _is_drawn(character, covered)]


def _is_drawn(character: str, covered: Container[int]) -> bool:
    point = ord(character)
    if point in covered or character.isspace() or point == _JOINER:
        return True
    if unicodedata.category(character) in _SHAPELESS or any(point in selectors for selectors in _SELECTORS):
        return True
    parts = unicodedata.normalize("NFD", character)
    return parts != character and all(ord(part) in covered for part in parts)


def _faces(body: bytes) -> tuple[int, ...]:
    """Where the table directory of each font of the file begins."""
    if body[:4] != _COLLECTION:
        return (0,)
    (count,) = struct.unpack_from(">I", body, 8)
    return struct.unpack_from(f">{count}I", body, 12)


def _points(body: bytes, face: int) -> Iterator[Iterable[int]]:
    table = _table(body, face)
    (count,) = struct.unpack_from(">H", body, table + 2)
    found = [struct.unpack_from(">HHI", body, table + 4 + 8 * number) for number in range(count)]
    for wanted, read in ((_FULL, _groups), (_FIRST_PLANE, _segments)):
        offset = next((offset for platform, encoding, offset in found if (platform, encoding) in wanted), None)
        if offset is not None:
            yield from read(body, table + offset)
            return


def _table(body: bytes, face: int) -> int:
    (count,) = struct.unpack_from(">H", body, face + 4)
    for number in range(count):
        tag, _, offset, _ = struct.unpack_from(">4sIII", body, face + 12 + 16 * number)
        if tag == b"cmap":
            return int(offset)
    raise ValueError("the font has no cmap table")


def _groups(body: bytes, at: int) -> Iterator[Iterable[int]]:
    """Format 12: runs of code points."""
    (count,) = struct.unpack_from(">I", body, at + 12)
    for number in range(count):
        first, last, glyph = struct.unpack_from(">III", body, at + 16 + 12 * number)
        yield range(first if glyph else first + 1, last + 1)


def _segments(body: bytes, at: int) -> Iterator[Iterable[int]]:
    """Format 4: segments whose glyphs are either counted on or listed; glyph 0 is the empty box."""
    (doubled,) = struct.unpack_from(">H", body, at + 6)
    shape = f">{doubled // 2}H"
    lasts, firsts, deltas, offsets = (
        struct.unpack_from(shape, body, at + 14 + doubled * part + (2 if part else 0)) for part in range(4)
    )
    for number, (first, last, delta, offset) in enumerate(zip(firsts, lasts, deltas, offsets, strict=True)):
        points = range(first, min(last, 0xFFFE) + 1)
        if not offset:
            yield (point for point in points if (point + delta) & 0xFFFF)
            continue
        glyphs = at + 16 + 3 * doubled + 2 * number + offset
        listed = struct.unpack_from(f">{len(points)}H", body, glyphs)
        yield (point for point, glyph in zip(points, listed, strict=True) if glyph)

"""Tables and durations for people at a terminal."""

import shutil
from collections.abc import Sequence
from typing import Final

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def text(heads: Sequence[str], rows: Sequence[Sequence[object]], *, width: int | None = None) -> str:
    """Columns side by side; the last one is cut off at the terminal's width (or `width`)."""
    lines = [list(heads), *([" ".join(str(cell).split()) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    room = (width or shutil.get_terminal_size((160, 24)).columns) - sum(widths[:-1]) - 2 * len(widths[:-1])
    return "\n".join(_line(line, widths, max(room, 20)) for line in lines)


def _line(cells: list[str], widths: list[int], room: int) -> str:
    *first, last = cells
    cut = last if len(last) <= room else last[: room - 1] + "…"
    return "".join(f"{cell:<{width + 2}}" for cell, width in zip(first, widths, strict=False)) + cut


def duration(seconds: float) -> str:
    """In the largest unit that fits: `3 d`, `12 min`, `0 s`."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{max(0, int(seconds // size))} {unit}"

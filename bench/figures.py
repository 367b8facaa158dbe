"""Figures with their goals: as a table for people, as JSON, and in a document between two marks."""

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

RESULTS: Final = Path(__file__).parent / "results"


class Figure(msgspec.Struct, frozen=True):
    """`holds` is None where nothing was promised; `goal` is for people."""

    what: str
    value: str
    goal: str = ""
    holds: bool | None = None


def at_least(what: str, value: float, goal: float, unit: str = "") -> Figure:
    return Figure(what, said(value, unit), f"≥ {said(goal, unit)}", value >= goal)


def at_most(what: str, value: float, goal: float, unit: str = "") -> Figure:
    return Figure(what, said(value, unit), f"≤ {said(goal, unit)}", value <= goal)


def plain(what: str, value: float, unit: str = "") -> Figure:
    return Figure(what, said(value, unit))


def said(value: float, unit: str = "") -> str:
    number = f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"
    return f"{number} {unit}".rstrip()


def markdown(figures: Sequence[Figure]) -> str:
    verdicts = {None: "", True: "yes", False: "**no**"}
    rows = [f"| {each.what} | {each.value} | {each.goal} | {verdicts[each.holds]} |" for each in figures]
    return "\n".join(["| what | figure | goal | holds |", "|---|---|---|---|", *rows])


def broken(figures: Sequence[Figure]) -> bool:
    return any(each.holds is False for each in figures)


def write(name: str, content: object) -> Path:
    """As JSON, with the machine that it was measured on."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{time.strftime('%Y%m%dT%H%M%S')}.json"
    machine = {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    encoded = msgspec.json.encode({"machine": machine, "load": os.getloadavg()[0], "measured": content})
    path.write_bytes(msgspec.json.format(encoded) + b"\n")
    return path


def document(path: Path, name: str, table: str) -> None:
    """Replaces what stands between `<!-- figures: name -->` and `<!-- end of figures -->`. Raises ValueError."""
    text = path.read_text()
    before, begin, rest = text.partition(f"<!-- figures: {name} -->\n")
    _, end, after = rest.partition("<!-- end of figures -->")
    if not end:
        raise ValueError(f"{path} has no place for the figures of {name}")
    path.write_text(f"{before}{begin}{table}\n{end}{after}")

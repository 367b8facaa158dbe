"""Clocks that are wrong: one process believes that it is minutes earlier or later, by libfaketime."""

import importlib.util
from pathlib import Path
from typing import Final

SKEW: Final = 120
"""Seconds. Receivers of webhooks forgive five minutes."""


def library() -> Path | None:
    """None: it is not there for this system, and clocks stay right."""
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        return None
    return next(Path(found.origin).parent.glob("vendor/libfaketime/src/libfaketime.so.1"), None)


def environment(preloaded: Path, skew: int) -> dict[str, str]:
    """For a process whose clock is ahead by so many seconds. What it times by its monotonic clock stays right."""
    return {
        "LD_PRELOAD": str(preloaded),
        "FAKETIME": f"{skew:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }

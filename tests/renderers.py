"""The processes in which a worker draws."""

from pathlib import Path

import psutil


def of(worker: int) -> list[psutil.Process]:
    """Those that draw, and not the one that forks them, which has no folder of its own."""
    return [one for one in psutil.Process(worker).children() if Path(one.cwd()).name.startswith("child-")]

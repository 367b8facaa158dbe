"""Watching processes from outside."""

import asyncio
from collections.abc import Callable
from pathlib import Path


async def eventually(is_true: Callable[[], bool], timeout: float = 20) -> None:
    async with asyncio.timeout(timeout):
        while not is_true():
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    """False for a zombie too: nobody may be there to reap an orphan."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

import contextlib
import os
from pathlib import Path


def of(pid: int) -> set[int]:
    """Its own, and that of its session where the kernel keeps one."""
    found = {os.getpriority(os.PRIO_PROCESS, pid)}
    with contextlib.suppress(FileNotFoundError):
        found.add(int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1]))
    return found

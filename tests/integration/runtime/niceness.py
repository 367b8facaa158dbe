import os
from pathlib import Path


def own(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def of_sessions_is_kept() -> bool:
    """Whether the kernel keeps one for each session that is begun, as sched(7) has it ("The autogroup feature")."""
    return Path("/proc/self/autogroup").exists()


def of_session(pid: int) -> int | None:
    """None where the kernel keeps none for it: at all, or for those whose session began with the machine."""
    try:
        words = Path(f"/proc/{pid}/autogroup").read_text().split()
    except FileNotFoundError:
        return None
    return int(words[-1]) if words else None

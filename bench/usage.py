"""What the processes of an installation use: CPU seconds, and memory as the kernel shares it out (PSS)."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import psutil  # type: ignore[import-untyped]

Pids = Callable[[], Mapping[str, int]]


def cpu(pids: Mapping[str, int]) -> dict[str, float]:
    """Seconds since the start of each process, with those of its children, of those that have ended too."""
    return {name: sum(map(_own_cpu, _family(pid))) + _ended_cpu(pid) for name, pid in pids.items()}


def memory(pids: Mapping[str, int]) -> dict[str, float]:
    """MiB of each process with its children."""
    return {name: sum(map(_pss, _family(pid))) / 2**20 for name, pid in pids.items()}


async def watch_memory(pids: Pids, peak: dict[str, float]) -> None:
    """Until cancelled, twice a second: keeps the highest of each."""
    while True:
        for name, size in (await asyncio.to_thread(memory, pids())).items():
            peak[name] = max(peak.get(name, 0.0), size)
        await asyncio.sleep(0.5)


def _family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def _own_cpu(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _ended_cpu(pid: int) -> float:
    with contextlib.suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return float(times.children_user + times.children_system)
    return 0.0


def _pss(process: psutil.Process) -> int:
    """Where the kernel does not tell (macOS), the resident size."""
    with contextlib.suppress(psutil.Error):
        info = process.memory_full_info()
        return int(getattr(info, "pss", info.rss))
    return 0

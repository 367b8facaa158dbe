"""The systematic part: each failpoint once, in each process that has it, by kill -9 and by an error at that place.

The process is replaced by one whose failpoint is armed (`runtime/failpoints.py`), for that one life; the load that is
going on leads it there. Different processes are taken side by side, the cases of one process after each other.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.faults.observation import Database
from cli.installation import Installation
from runtime.processes import StartError

TIMEOUT: Final = 30.0
GIVE_BACK: Final = "worker.in_give_back"
_BOTH: Final = ("worker-images", "worker-io")
_BOTH_TOO: Final = _BOTH[::-1]
"""A short round takes the first one only: like this both workers have about as much to suffer."""
PROCESSES: Final = {
    "api.after_commit": ("api",),
    "relay.after_commit": ("relay",),
    "worker.after_claim": _BOTH,
    "worker.before_record": _BOTH_TOO,
    "worker.after_record": _BOTH,
    GIVE_BACK: _BOTH_TOO,
    "render.after_render": ("worker-images",),
    "render.after_put": ("worker-images",),
    "webhook.after_2xx": ("worker-io",),
}


class Case(NamedTuple):
    failpoint: str
    action: str
    process: str


class Hit(NamedTuple):
    """`seconds` from arming to the hit; None when it did not come."""

    case: Case
    seconds: float | None


def cases(failpoint: str | None, actions: Sequence[str], *, everywhere: bool) -> list[Case]:
    return [
        Case(name, action, process)
        for name, processes in PROCESSES.items()
        if failpoint in {None, name}
        for process in (processes if everywhere else processes[:1])
        for action in actions
    ]


async def carry_out(
    running: Installation, database: Database, wanted: Iterable[Case], folder: Path, tell: Callable[[Hit], None]
) -> list[Hit]:
    lanes: dict[str, list[Case]] = defaultdict(list)
    for case in wanted:
        lanes[case.process].append(case)

    async def lane(mine: Sequence[Case]) -> list[Hit]:
        hits = []
        for case in mine:
            hits.append(await _one(running, database, case, folder))
            tell(hits[-1])
        return hits

    return [hit for hits in await asyncio.gather(*map(lane, lanes.values())) for hit in hits]


async def _one(running: Installation, database: Database, case: Case, folder: Path) -> Hit:
    log = folder / f"{case.failpoint}-{case.action}-{case.process}.hits"
    environment = {"ATELIER_FAILPOINTS": f"{case.failpoint}={case.action}", "ATELIER_FAILPOINTS_LOG": str(log)}
    began = time.monotonic()
    try:
        await running.roll(case.process, env=environment)
    except StartError:
        if not log.exists():  # a worker may find work, and its end, before it has said that it is ready
            raise
    if case.failpoint == GIVE_BACK:
        await _stop_busy(running, database, case.process)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT):
            while not log.exists():
                await asyncio.sleep(0.02)
            await _back(running, case.process)
    return Hit(case, time.monotonic() - began if log.exists() else None)


async def _stop_busy(running: Installation, database: Database, process: str) -> None:
    """SIGTERM, once it holds a task, or after some seconds without one."""
    pid = running.pids()[process]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            while not await database.holds_tasks(pid):
                await asyncio.sleep(0.002)
    os.kill(pid, signal.SIGTERM)


async def _back(running: Installation, process: str) -> None:
    """Until one is running again; one that was not killed goes on with its failpoint spent."""
    await asyncio.sleep(0.2)
    while process not in running.pids():
        await asyncio.sleep(0.05)

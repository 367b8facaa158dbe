"""The systematic part: each failpoint in each process that has it, by an error raised there and by kill -9.

Failpoints are armed by files while the processes run (`runtime/failpoints.py`); the load leads each process there, or a
stimulus does (`stimuli`). Different processes are taken side by side, the cases of one process after each other.
"""

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.faults import stimuli
from bench.faults.journal import Journal, Struck
from bench.faults.observation import Database
from bench.faults.stimuli import Stimuli
from cli.installation import Installation

TIMEOUT: Final = 180.0
CALM: Final = 2.2
"""Seconds that a process is left alone after it has come back: those that keep dying young are restarted slowly."""
MIGRATE: Final = "migrate"
ACTIONS: Final = ("raise", "kill")
_API, _RELAY, _IMAGES, _IO = (("api",), ("relay",), ("worker-images",), ("worker-io",))
_BOTH: Final = ("worker-images", "worker-io")
PROCESSES: Final[Mapping[str, tuple[str, ...]]] = {
    "api.after_auth": _API,
    "api.before_accept": _API,
    "api.after_batch": _API,
    "api.before_replay": _API,
    "api.after_commit": _API,
    "api.before_carry_on": _API,
    "api.mid_answer": _API,
    "api.before_commit": _API,
    "api.after_write": _API,
    "api.in_drain": _API,
    "upload.after_inspection": _API,
    "upload.after_put": _API,
    "relay.after_lead": _RELAY,
    "relay.before_step": _RELAY,
    "relay.after_commit": _RELAY,
    "relay.after_publish": _RELAY,
    "relay.before_recovery": _RELAY,
    "relay.after_recovery": _RELAY,
    "relay.before_ticks": _RELAY,
    "relay.after_ticks": _RELAY,
    "relay.in_stop": _RELAY,
    "worker.on_message": _BOTH,
    "worker.after_claim": _BOTH,
    "worker.after_prepare": _BOTH,
    "worker.in_reaction": _IO,
    "worker.before_record": _BOTH,
    "worker.after_batch": _BOTH,
    "worker.before_carry_on": _IMAGES,
    "worker.after_fence": _BOTH,
    "worker.before_commit": _BOTH,
    "worker.after_record": _BOTH,
    "worker.in_failure": _BOTH,
    "worker.before_retry": _BOTH,
    "worker.in_give_back": _BOTH,
    "worker.after_give_back": _BOTH,
    "heartbeat.before_renewal": _BOTH,
    "heartbeat.after_renewal": _BOTH,
    "render.after_fetch": _IMAGES,
    "render.before_reuse": _IMAGES,
    "render.before_draw": _IMAGES,
    "render.after_draw": _IMAGES,
    "render.after_render": _IMAGES,
    "render.after_put": _IMAGES,
    "child.before_call": _IMAGES,
    "child.before_answer": _IMAGES,
    "storage.before_place": _IMAGES,
    "storage.mid_place": _IMAGES,
    "webhook.after_body": _IO,
    "webhook.before_send": _IO,
    "webhook.after_2xx": _IO,
    "webhook.after_refusal": _IO,
    "webhook.before_judgement": _IO,
    "mail.before_send": _IO,
    "mail.after_connect": _IO,
    "mail.after_send": _IO,
    "upkeep.between_batches": _IO,
    "upkeep.before_log": _IO,
    "upkeep.in_storage_check": _IO,
    "dead_letters.after_decision": _IO,
    "migration.after_revision": (MIGRATE,),
    "migration.after_functions": (MIGRATE,),
}
"""In whose lives a failpoint is hit. `migrate` is run for that alone, on a database of its own."""
ON_REDIS_ALONE: Final = frozenset({"api.before_carry_on"})
"""Over RabbitMQ the API sends nothing to a worker by itself (decision 0028)."""


class Case(NamedTuple):
    failpoint: str
    action: str
    process: str


class Hit(NamedTuple):
    """`seconds` from arming to the hit; None when it did not come."""

    case: Case
    seconds: float | None


def cases(seed: int, *, failpoint: str | None = None, everywhere: bool = False, broker: str = "redis") -> list[Case]:
    """Of all failpoints or one; in one process that has it, drawn by the seed, or everywhere. What nothing reaches over
    RabbitMQ is left out there.
    """
    drawing = random.Random(f"cases {seed}")
    drawn = {name: processes if everywhere else [drawing.choice(processes)] for name, processes in PROCESSES.items()}
    return [
        Case(name, action, process)
        for name, processes in drawn.items()
        if failpoint in {None, name} and (broker == "redis" or name not in ON_REDIS_ALONE)
        for process in processes
        for action in ACTIONS
    ]


def folders(folder: Path) -> Path:
    """Where failpoints are armed: a folder for each process."""
    armed = folder / "failpoints"
    for process in {process for processes in PROCESSES.values() for process in processes}:
        (armed / process).mkdir(parents=True, exist_ok=True)
    return armed


class Lanes:
    """`tell` hears of each case that is through; kills are written to the journal."""

    def __init__(
        self, running: Installation, database: Database, journal: Journal, tell: Callable[[Hit], None]
    ) -> None:
        self._running = running
        self._journal = journal
        self._armed = running.settings.failpoints_dir
        self._stimuli = Stimuli(running, database)
        self._tell = tell

    async def carry_out(self, wanted: Iterable[Case]) -> list[Hit]:
        lanes: dict[str, list[Case]] = defaultdict(list)
        for case in wanted:
            lanes[case.process].append(case)
        return [hit for hits in await asyncio.gather(*map(self._lane, lanes.values())) for hit in hits]

    async def migrates(self) -> bool:
        """Whether an undisturbed migration goes through after all that were broken off."""
        return await self._stimuli.migrate() == 0

    async def _lane(self, mine: Sequence[Case]) -> list[Hit]:
        """Errors that a process outlives are raised side by side."""
        together = [case for case in mine if case.action == "raise" and not self._is_mortal(case)]
        hits = await asyncio.gather(*map(self._one, together))
        return hits + [await self._one(case) for case in mine if case not in together]

    def _is_mortal(self, case: Case) -> bool:
        return case.process in {"relay", MIGRATE} or self._stimuli.ends(case.failpoint)

    async def _one(self, case: Case) -> Hit:
        hit = await self._hit(case)
        self._tell(hit)
        return hit

    async def _hit(self, case: Case) -> Hit:
        began, life = time.monotonic(), self._running.pids().get(case.process)
        place = self._armed / case.process / case.failpoint
        before = set(place.parent.glob(f"{case.failpoint}@*"))
        stimuli.arm(place, case.action)
        urging = asyncio.create_task(self._urge(case))
        taken: set[Path] = set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                while not (taken := set(place.parent.glob(f"{case.failpoint}@*")) - before):
                    if urging.done():  # it ends of itself where there is no stimulus, and else by an error
                        urging.result()
                    await asyncio.sleep(0.02)
        seconds = time.monotonic() - began
        place.unlink(missing_ok=True)
        urging.cancel()
        await asyncio.wait([urging])
        if not taken:
            return Hit(case, None)
        [mark] = taken
        pid = int(mark.name.rpartition("@")[2])
        if case.action == "kill":
            self._journal.write(Struck(at=mark.stat().st_ctime, blow="kill at a failpoint", pid=pid))
        mark.unlink()
        await self._calm(case.process, life)
        return Hit(case, seconds)

    async def _urge(self, case: Case) -> None:
        """Again and again: a stimulus may miss, or be met by a process that is just dying of another case."""
        stimulus: Callable[[str], Awaitable[None]] | None = self._stimuli.of(case.failpoint)
        while stimulus is not None:
            await stimulus(case.process)
            await asyncio.sleep(1)

    async def _calm(self, process: str, life: int | None) -> None:
        """Until the process is there again, and grown up if it is a new one."""
        if process == MIGRATE:
            return
        async with asyncio.timeout(TIMEOUT):
            await asyncio.sleep(0.2)
            while process not in self._running.pids():
                await asyncio.sleep(0.05)
        if self._running.pids()[process] != life:
            await asyncio.sleep(CALM)

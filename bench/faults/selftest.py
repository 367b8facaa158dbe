"""Does the harness find what it is there for? Faults in a sound installation must break no rule; the same faults after
a known bug was planted (`bugs`) must.
"""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import asyncpg

from bench import own, telling, tenants
from bench.faults import audit, bugs, cases, stimuli
from bench.faults.bugs import Bug, Fault
from bench.faults.journal import Journal
from bench.faults.load import Load, Pace
from bench.faults.observation import Database
from bench.faults.receiver import Receiver
from bench.telling import Tell
from bench.tenants import Tenant
from cli import installation
from cli.installation import Installation
from cli.invariants import Breach
from runtime import database
from runtime.settings import Settings

LEASE: Final = 3.0
IMAGES: Final = 8
PATIENCE: Final = 60.0
"""Seconds for what must come."""
STUCK: Final = 15.0
"""Seconds without anything that ends or begins, after which nothing more is waited for."""
_PACE: Final = Pace(tenants=2, clients=0, pause=(0, 0), most_open=0)
_RENDERS: Final = """
    select count(*) from tasks where actor = 'generations.render' and state in ('ready', 'dispatched', 'running')
"""
DEFINITION: Final = "select pg_get_functiondef($1::regproc)"


async def run(settings: Settings, tell: Tell) -> bool:
    """Whether every planted bug was caught, and nothing was found where there was none."""
    with tempfile.TemporaryDirectory(prefix="atelier-selftest-") as folder:
        async with _laboratory(settings, Path(folder)) as laboratory:
            return await _all(laboratory, tell)


async def _all(laboratory: "Laboratory", tell: Tell) -> bool:
    for bug in bugs.BUGS:
        await laboratory.harm(bug.fault)
    found = await laboratory.judged()
    tell(f"{'no bug':<42} {_summary(found)}")
    caught = 0
    for bug in bugs.BUGS:
        breaches = await laboratory.with_bug(bug)
        caught += any(breach.kind in bug.kinds for breach in breaches)
        tell(f"{bug.name:<42} {_summary(breaches)}")
    tell(f"self-test: {caught} of {len(bugs.BUGS)} planted bugs caught, {len(found)} found where there was none")
    return caught == len(bugs.BUGS) and not found


def _summary(breaches: set[Breach]) -> str:
    counts = Counter(f"{breach.kind} ({breach.rule})" for breach in breaches)
    return "; ".join(f"{count} x {what}" for what, count in counts.most_common(2)) or "no rule is broken"


@contextlib.asynccontextmanager
async def _laboratory(settings: Settings, folder: Path) -> AsyncIterator["Laboratory"]:
    async with contextlib.AsyncExitStack() as cleanup:
        received, asked, _ = (Journal(folder / f"{name}.jsonl") for name in ("receiver", "client", "nemesis"))
        receiver = Receiver(received)
        await receiver.start()
        cleanup.push_async_callback(receiver.stop)
        wanted = own.settings(
            settings,
            folder,
            failpoints_dir=cases.folders(folder),
            lease_seconds=LEASE,
            hang_seconds=600.0,  # the one that is frozen shall go on
            dispatched_timeout=2.0,
        )
        running = await cleanup.enter_async_context(installation.running(wanted, telling.silent))
        made = await tenants.make(
            running, _PACE.tenants, receiver.hooks(receiver.port), credit=10_000, notify_email="x@atelier.example"
        )
        observed = Database(running.settings.database_system_url)
        cleanup.push_async_callback(observed.close)
        load = Load(running.contract.base_url, made, asked, 0, _PACE)
        cleanup.push_async_callback(load.close)
        yield Laboratory(running, made, observed, load, folder)


class Laboratory:
    """An installation, its tenants, and the journals of what they ask for and are told."""

    def __init__(self, running: Installation, made: list[Tenant], observed: Database, load: Load, folder: Path) -> None:
        self._running = running
        self._tenants = made
        self._observed = observed
        self._load = load
        self._folder = folder
        self._count = 0

    async def with_bug(self, bug: Bug) -> set[Breach]:
        """What the audit finds after its fault, and did not find before. What can be undone is undone."""
        before = await self.judged()
        async with self._owner() as owner:
            kept = [await owner.fetchval(DEFINITION, edit.function) for edit in bug.edits]
            for edit in bug.edits:
                await owner.execute(edited(await owner.fetchval(DEFINITION, edit.function), edit))
            for statement in bug.statements:
                await owner.execute(statement)
        await self.harm(bug.fault)
        found = await self.judged() - before
        async with self._owner() as owner:
            for definition in kept:
                await owner.execute(definition)
            for statement in bug.undo:
                await owner.execute(statement)
        return found

    async def judged(self) -> set[Breach]:
        """At rest, or when nothing has moved for too long."""
        before, since = -1, time.monotonic()
        while (work := await self._observed.open_work() or await self._observed.open_work()) and (
            work != before or time.monotonic() - since < STUCK
        ):
            if work != before:
                before, since = work, time.monotonic()
            await asyncio.sleep(0.5)
        evidence = await audit.gather(self._running.settings, self._tenants, self._folder)
        return set(await audit.judge(evidence))

    async def harm(self, fault: Fault) -> None:
        match fault:
            case "crash":
                await self._crash()
            case "kill_relay":
                await self._hit("relay", "relay.after_commit", "kill")
            case "kill_claimant":
                await self._hit("worker-images", "worker.after_claim", "kill")
            case "kill_recorder":
                await self._hit("worker-images", "worker.after_record", "kill")
            case "freeze_recorder":
                await self._freeze_a_recorder()

    async def _ask(self) -> None:
        """For images that nobody has asked for before."""
        self._count += IMAGES
        labels = range(self._count, self._count + IMAGES)
        await asyncio.gather(
            *(self._load.image({"template": "badge", "input": {"label": f"image {label}"}}) for label in labels)
        )

    async def _crash(self) -> None:
        """PostgreSQL is killed while events wait for a relay that is frozen."""
        relay = self._running.pids()["relay"]
        os.kill(relay, signal.SIGSTOP)
        try:
            await self._ask()
            killed = self._running.pids()["postgres"]
            os.kill(killed, signal.SIGKILL)
            while self._running.pids().get("postgres", killed) == killed:
                await asyncio.sleep(0.05)
        finally:
            os.kill(relay, signal.SIGCONT)

    async def _hit(self, process: str, failpoint: str, action: str) -> int:
        """The pid of the process that came there."""
        place = self._running.settings.failpoints_dir / process / failpoint
        for mark in place.parent.glob(f"{failpoint}@*"):
            mark.unlink()
        stimuli.arm(place, action)
        await self._ask()
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            if marks := list(place.parent.glob(f"{failpoint}@*")):
                return int(marks[0].name.rpartition("@")[2])
            await asyncio.sleep(0.02)
        raise TimeoutError(f"{failpoint} was not hit within {PATIENCE:g} s")

    async def _freeze_a_recorder(self) -> None:
        """One of two workers sleeps over the end of its leases, the other does its work, and then both record."""
        environment = dict(os.environ) | installation.to_environment(self._running.settings)
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "worker", "--group", "images"),
            env=environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            frozen = await self._hit("worker-images", "worker.before_record", "stop")
            await asyncio.sleep(LEASE + 1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    while (await self._observed.query(_RENDERS))[0][0]:
                        await asyncio.sleep(0.1)
            os.kill(frozen, signal.SIGCONT)
            await asyncio.sleep(LEASE * 2)
        finally:
            if second.returncode is None:
                second.terminate()
            await second.wait()

    @contextlib.asynccontextmanager
    async def _owner(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await database.connect(self._running.settings.database_owner_url, name="atelier-selftest")
        try:
            yield connection
        finally:
            await connection.close()


def edited(definition: str, edit: bugs.Edit) -> str:
    """Raises ValueError when there is nothing to edit."""
    if edit.old not in definition:
        raise ValueError(f"{edit.function} does not say {edit.old!r} any more")
    return definition.replace(edit.old, edit.new)

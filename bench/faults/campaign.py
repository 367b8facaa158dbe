"""One round: an installation of its own, load, the systematic part, the random part, rest, and the audit."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

import msgspec

from bench import own, tenants
from bench.faults import audit, cases, clocks, complaints, disk, harms, observation, siege, surroundings
from bench.faults.audit import Evidence
from bench.faults.cases import Hit, Lanes
from bench.faults.journal import Journal, Struck, read
from bench.faults.load import Load, Pace
from bench.faults.nemesis import Nemesis
from bench.faults.observation import Database
from bench.faults.receiver import Receiver
from bench.faults.siege import Goals, Seen, Spells
from bench.faults.surroundings import Surroundings
from bench.telling import Tell
from cli import installation
from cli.installation import Installation
from cli.invariants import Breach
from runtime.settings import Settings

CREDIT: Final = 1_000_000
MAIL: Final = "faults@atelier.example"
ROUND: Final = Pace(tenants=12, clients=16, pause=(0.2, 0.8), most_open=120)
SIEGE: Final = Pace(tenants=50, clients=32, pause=(0.05, 0.3), most_open=400)
REST: Final = 180.0
"""Seconds in which everything must have come to its end after the last blow."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Each failpoint, `everywhere`: in every process that has it, else in one. Then `seconds` of random blows, one each
    `gap` on average, beside `poisons`. `failpoint`: only that one, nothing random. `broker`: what carries the messages;
    without Redis, blows at Redis fall on RabbitMQ. `goals`: a siege (`siege`) takes the place of the random blows.
    `deadline`: seconds after which the round is broken off and has failed.
    """

    seed: int
    seconds: float = 30.0
    gap: float = 1.5
    everywhere: bool = False
    poisons: int = 2
    lease: float = 10.0
    broker: Literal["redis", "rabbitmq"] = "redis"
    failpoint: str | None = None
    goals: Goals | None = None
    deadline: float | None = None


class OverdueError(Exception):
    """A round took longer than its deadline."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`blows` are what fell, `recoveries` and `durations` (from accept to end) are sorted seconds."""

    options: Options
    hits: list[Hit]
    servers: str
    blows: Counter[str]
    statuses: Counter[str]
    accepted: int
    requests: int
    webhooks: int
    repeated: int
    fenced: int
    """Tasks that a frozen process held, and that were no longer its own when it went on."""
    dead: dict[str, int]
    poisons: int
    migrates: bool
    deaths: int
    recoveries: list[float]
    durations: list[float]
    rested: float | None
    complaints: Counter[str]
    """What the processes logged as errors."""
    breaches: list[Breach]

    @property
    def kills(self) -> int:
        """SIGKILLs, by the nemesis and at failpoints."""
        return self.seen.kills

    @property
    def ambiguous(self) -> int:
        """Commits whose answer was swallowed."""
        return self.seen.ambiguous

    @property
    def seen(self) -> Seen:
        return siege.seen(self.accepted, self.blows)

    @property
    def flaws(self) -> list[str]:
        """What keeps the round from having shown what it should, though nothing is broken."""
        hit = {hit.case for hit in self.hits if hit.seconds is not None}
        missed = [f"{' '.join(case)} was not hit" for case in sorted({hit.case for hit in self.hits} - hit)]
        if self.options.goals is not None:
            missed += [f"fewer {name} than wanted" for name in self.seen.lacking(self.options.goals)]
        if self.rested is None:
            missed.append(f"work was still open {REST:g} s after the last blow")
        if self.poisons > sum(self.dead.values()):
            missed.append("a poisoned task did not end dead")
        if not self.migrates:
            missed.append("no migration went through after those that were broken off")
        return missed


async def run(settings: Settings, options: Options, tell: Tell) -> Report:
    """The folder stays where it is, and is named, when the round shows anything wrong. Raises OverdueError."""
    folder = Path(tempfile.mkdtemp(prefix="atelier-faults-"))
    kept = f"logs, journals, images and the database are in {folder}"
    try:
        async with asyncio.timeout(options.deadline) as deadline:
            report = await _run(_own(settings, folder, options), options, folder, tell)
    except TimeoutError as error:
        if not deadline.expired():
            raise
        tell(kept)
        raise OverdueError(f"the round had not ended after {options.deadline:g} s (seed {options.seed})") from error
    if report.breaches or report.flaws:
        tell(kept)
    else:
        shutil.rmtree(folder)
    return report


def _own(settings: Settings, folder: Path, options: Options) -> Settings:
    failpoints = cases.folders(folder)
    return own.settings(settings, folder, broker=options.broker, failpoints_dir=failpoints, lease_seconds=options.lease)


async def _run(settings: Settings, options: Options, folder: Path, tell: Tell) -> Report:
    async with contextlib.AsyncExitStack() as cleanup:
        story = cleanup.enter_context((folder / "story.log").open("w", buffering=1))
        received, asked, struck = (_journal(cleanup, folder, name) for name in ("receiver", "client", "nemesis"))
        receiver = Receiver(received)
        await receiver.start()
        cleanup.push_async_callback(receiver.stop)
        tell("starting an installation of its own")
        running: Installation | None = None
        full = cleanup.enter_context(
            disk.mounted(settings.data_dir, lambda: running.pids().get("worker-images", 0) if running else 0)
        )
        around = await cleanup.enter_async_context(
            surroundings.standing(settings, folder, receiver.port, lambda line: print(line, file=story))
        )
        running = await cleanup.enter_async_context(
            installation.running(around.settings, lambda line: print(line, file=story))
        )
        await around.learn()
        hooks = receiver.hooks(around.links["receiver"].port)
        pace = SIEGE if options.goals else ROUND
        made = await tenants.make(running, pace.tenants, hooks, credit=CREDIT, notify_email=MAIL)
        observed = Database(around.direct.database_system_url)
        cleanup.push_async_callback(observed.close)
        load = Load(running.contract.base_url, made, asked, options.seed, pace)
        cleanup.push_async_callback(load.close)
        blows = Nemesis(running, around, full, observed, load, struck, tell)
        lanes = Lanes(running, observed, struck, lambda hit: _say_hit(hit, tell))
        torment = Torment(observed, load, blows, lanes, options, folder, tell)
        await torment.run()
        evidence = await audit.gather(_direct(running, around), made, folder)
        breaches = [*await audit.judge(evidence), *torment.drifts()]
        tell("stopping")
    return _report(options, torment, evidence, breaches)


def _direct(running: Installation, around: Surroundings) -> Settings:
    """The installation's own settings, with its servers reached past the links."""
    return msgspec.structs.replace(running.settings, database_system_url=around.direct.database_system_url)


class Torment:
    """What happens to a running installation, and what was seen meanwhile."""

    def __init__(
        self,
        observed: Database,
        load: Load,
        nemesis: Nemesis,
        lanes: Lanes,
        options: Options,
        folder: Path,
        tell: Tell,
    ) -> None:
        self._folder = folder
        self._observed = observed
        self._load = load
        self._nemesis = nemesis
        self._lanes = lanes
        self._options = options
        self._tell = tell
        self._drifted: set[str] = set()
        self.hits: list[Hit] = []
        self.migrates = True
        self.poisons = 0
        self.rested: float | None = None

    async def run(self) -> None:
        watching = {
            asyncio.create_task(observation.watch_balances(self._observed, self._drifted)),
            asyncio.create_task(self._throttle()),
        }
        self._load.start()
        try:
            async with asyncio.TaskGroup() as group:
                if self._options.failpoint is None:
                    for _ in range(self._options.poisons):
                        group.create_task(self._nemesis.poison())
                        self.poisons += 1
                await self._systematic()
                if self._options.goals is not None:
                    await self._siege(self._options.goals)
                elif self._options.failpoint is None:
                    await self._random()
            await self._rest()
        finally:
            for watch in watching:
                watch.cancel()
            await asyncio.wait(watching)

    def drifts(self) -> list[Breach]:
        """Organizations whose balance was wrong at any moment."""
        return [Breach("balance", "a balance is right at every moment", name) for name in sorted(self._drifted)]

    async def _systematic(self) -> None:
        options = self._options
        wanted = cases.cases(
            options.seed, failpoint=options.failpoint, everywhere=options.everywhere, broker=options.broker
        )
        self._tell(f"{len(wanted)} cases: each failpoint, by an error and by SIGKILL")
        self.hits = await self._lanes.carry_out(wanted)
        self.migrates = await self._lanes.migrates()

    async def _random(self) -> None:
        options = self._options
        without = () if clocks.library() else ("skew",)
        blows = harms.plan(options.seed, options.seconds, options.gap, options.broker, without=without)
        self._tell(f"{len(blows)} random blows within {options.seconds:g} s")
        await self._nemesis.strike(blows)

    async def _siege(self, goals: Goals) -> None:
        options = self._options
        spells = Spells(options.seed, options.broker, () if clocks.library() else ("skew",))
        self.hits += await siege.lay(goals, self._look, spells, self._nemesis, self._lanes, self._tell)

    def _look(self) -> Seen:
        return siege.seen(self._load.accepted, _blows(read(self._folder / "nemesis.jsonl", Struck)))

    async def _rest(self) -> None:
        self._tell("waiting until everything has come to its end")
        began = time.monotonic()
        await self._load.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REST):
                while await self._observed.open_work() or await self._still_open():
                    await self._observed.hasten()
                    await asyncio.sleep(0.5)
                self.rested = time.monotonic() - began

    async def _throttle(self) -> None:
        while True:
            self._load.throttle(rest=await self._observed.open_work() > self._load.pace.most_open)
            await asyncio.sleep(0.5)

    async def _still_open(self) -> int:
        """A second look: what the last task appended may have come in between."""
        await asyncio.sleep(0.5)
        return await self._observed.open_work()


def _say_hit(hit: Hit, tell: Tell) -> None:
    name = f"{hit.case.failpoint} ({hit.case.process})"
    how = f"{hit.seconds:.1f} s" if hit.seconds is not None else "NOT HIT"
    tell(f"  {hit.case.action:<6} {name:<42} {how}")


def _blows(struck: Iterable[Struck]) -> Counter[str]:
    """What fell."""
    return Counter(line.blow for line in struck if line.pid != 0)


def _journal(cleanup: contextlib.AsyncExitStack, folder: Path, name: str) -> Journal:
    journal = Journal(folder / f"{name}.jsonl")
    cleanup.callback(journal.close)
    return journal


def _report(options: Options, torment: Torment, evidence: Evidence, breaches: list[Breach]) -> Report:
    delivered = Counter((line.id, line.hook, line.tenant) for line in evidence.delivered if line.status < 300)
    return Report(
        options=options,
        hits=torment.hits,
        servers=evidence.servers,
        blows=_blows(evidence.struck),
        statuses=Counter(row["status"] for row in evidence.generations),
        accepted=len({line.id for line in evidence.promises}),
        requests=len(evidence.answered),
        webhooks=len(delivered),
        repeated=sum(delivered.values()) - len(delivered),
        fenced=sum(len(line.lost) for line in evidence.woken),
        dead=evidence.dead,
        poisons=torment.poisons,
        migrates=torment.migrates,
        deaths=len(evidence.deaths),
        recoveries=audit.recoveries(evidence),
        durations=sorted(row["seconds"] for row in evidence.generations if row["seconds"] is not None),
        rested=torment.rested,
        complaints=complaints.of(evidence.settings.data_dir / "log"),
        breaches=breaches,
    )

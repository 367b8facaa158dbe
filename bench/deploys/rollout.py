"""Every process is replaced, again and again; then by the next release, in an order in which each pair of old and new
meets once, after a migration in the middle.
"""

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from bench.deploys import next_release
from bench.deploys.stage import Stage
from bench.faults.observation import Database
from bench.telling import Tell
from cli import installation
from runtime.settings import Settings

WORKERS: Final = ("worker-images", "worker-io")
PATIENCE: Final = 60.0
OLD: Final[Mapping[str, str]] = {}

_PENDING: Final = "select count(*) from pending_events where type = $1"
_WAITING: Final = "select count(*) from tasks where actor = $1 and state in ('ready', 'dispatched')"
_CARRIED_OUT: Final = """
    select (select count(*) from events where type = $1) as appended,
        (select count(*) from tasks where actor = $2 and state = 'done') as done,
        (select coalesce(sum(probes), 0) from webhook_endpoints) as noted
"""


class Step(NamedTuple):
    """`began`: how many requests had been made before it, and when (seconds of the load)."""

    name: str
    asked: int
    began: float


class Probes(NamedTuple):
    """What only the next release knows: facts appended, tasks of theirs done, and what those wrote."""

    appended: int
    done: int
    noted: int

    @property
    def complete(self) -> bool:
        return 0 < self.appended == self.done == self.noted


class Rollout:
    def __init__(self, stage: Stage, tell: Tell) -> None:
        self._stage = stage
        self._tell = tell
        self.steps: list[Step] = []
        self.replaced = 0

    async def carry_out(self, rolls: int) -> None:
        """Raises TimeoutError when what only the next release knows does not wait for it, or is not done by it."""
        for number in range(rolls):
            await self._replace(f"every process by its like, {number + 1} of {rolls}", *installation.COMMANDS, env=OLD)
        with tempfile.TemporaryDirectory(prefix="atelier-next-") as folder:
            tree = await asyncio.to_thread(next_release.make, Path(folder))
            await self._upgrade(next_release.environment(tree))

    async def probes(self) -> Probes:
        row = (await self._stage.observed.query(_CARRIED_OUT, next_release.EVENT, next_release.ACTOR))[0]
        return Probes(row["appended"], row["done"], row["noted"])

    async def _upgrade(self, new: Mapping[str, str]) -> None:
        observed = self._stage.observed
        self._begin("migrating, under all old processes")
        await _migrate(self._stage.running.settings, new)
        await self._replace("new workers beside an old API and relay", *WORKERS, env=new)
        await self._replace("a new API: its new facts wait, for the relay is old", "api", env=new)
        await _until(observed, _PENDING, next_release.EVENT)
        await self._replace("a new relay leads: they are carried out", "relay", env=new)
        await self._until_carried_out()
        await self._replace("back to old workers: tasks that only new ones know wait", *WORKERS, env=OLD)
        await _until(observed, _WAITING, next_release.ACTOR)
        await self._replace("back to an old relay", "relay", env=OLD)
        await _until(observed, _PENDING, next_release.EVENT)
        await self._replace("back to an old API, forward to new workers", "api", env=OLD)
        await self._replace("", *WORKERS, env=new)
        await self._replace("all are new", "relay", "api", env=new)
        await self._until_carried_out()

    async def _until_carried_out(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not (await self.probes()).done:
                await asyncio.sleep(0.05)

    async def _replace(self, what: str, *names: str, env: Mapping[str, str]) -> None:
        if what:
            self._begin(what)
        await self._stage.running.roll(*names, env=env)
        self.replaced += len(names)

    def _begin(self, what: str) -> None:
        self._tell(what)
        self.steps.append(Step(what, len(self._stage.load.asked), self._stage.load.seconds))


async def _until(observed: Database, statement: str, name: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not (await observed.query(statement, name))[0][0]:
            await asyncio.sleep(0.02)


async def _migrate(settings: Settings, new: Mapping[str, str]) -> None:
    """Raises RuntimeError with what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "migrate"),
        env=installation.to_environment(settings) | dict(new),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(said.decode())

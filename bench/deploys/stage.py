"""An installation of its own with customers in it, and what became of all that they were promised."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bench import own, tenants
from bench.deploys.load import Load
from bench.faults.observation import Database
from bench.receiver import Receiver
from bench.tenants import Hook
from cli import installation, invariants
from cli.installation import Installation
from cli.invariants import Breach
from runtime import database
from runtime.settings import Settings

TENANTS: Final = 20
CREDIT: Final = 1_000_000
QUIET: Final = 20.0
"""Seconds without a webhook after which what is missing counts as lost."""
REST: Final = 120.0
"""Seconds in which everything must have come to its end after the last request."""

_TROUBLED: Final = """
    select actor || ': attempts ' || attempts || ', deaths ' || deaths || ', ' || failures::text from tasks
    where attempts > 0 or deaths > 0 order by id
"""
_COUNTS: Final = """
    select (select count(*) from generations) as generations,
        (select count(*) from generations where status <> 'succeeded') as unfinished,
        (select count(*) from tasks where state = 'dead') as dead,
        (select count(*) from set_aside_events) as set_aside
"""


class Stage(NamedTuple):
    running: Installation
    observed: Database
    load: Load
    receiver: Receiver
    folder: Path


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What there was to find when all was quiet. `troubled`: tasks whose tries failed or whose workers died."""

    generations: int
    unfinished: int
    untold: int
    """Accepted, and no webhook came."""
    dead: int
    set_aside: int
    rested: bool
    troubled: list[str]
    breaches: list[Breach]

    @property
    def lost_nothing(self) -> bool:
        return self.rested and not (self.unfinished or self.untold or self.dead or self.set_aside or self.breaches)


@contextlib.asynccontextmanager
async def open_stage(
    settings: Settings, *, rate: float, patience: float, dispatched_timeout: float
) -> AsyncIterator[Stage]:
    """The load is not started yet."""
    async with contextlib.AsyncExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="atelier-deploys-")))
        wanted = own.settings(settings, folder, dispatched_timeout=dispatched_timeout)
        story = cleanup.enter_context((folder / "story.log").open("w", buffering=1))
        running = await cleanup.enter_async_context(installation.running(wanted, lambda line: print(line, file=story)))
        receiver = await cleanup.enter_async_context(Receiver())
        hook = Hook(receiver.url, ("generation.succeeded",))
        made = await tenants.make(running, TENANTS, [hook], credit=CREDIT)
        observed = Database(running.settings.database_system_url)
        cleanup.push_async_callback(observed.close)
        load = Load(running.contract.base_url, made, rate=rate, patience=patience)
        yield Stage(running, observed, load, receiver, folder)


async def settle(stage: Stage) -> Outcome:
    """Stops the customers and waits until nothing is under way."""
    await stage.load.stop()
    await stage.receiver.wait(stage.load.accepted, QUIET)
    rested = True
    try:
        async with asyncio.timeout(REST):
            while await stage.observed.open_work():
                await asyncio.sleep(0.2)
    except TimeoutError:
        rested = False
    connection = await database.connect(stage.running.settings.database_system_url, name="atelier-deploys")
    try:
        counts = dict(await connection.fetchrow(_COUNTS))
        troubled = [row[0] for row in await connection.fetch(_TROUBLED)]
        breaches = await invariants.breaches(connection)
    finally:
        await connection.close()
    untold = len(stage.load.accepted.keys() - stage.receiver.told.keys())
    return Outcome(**counts, untold=untold, rested=rested, troubled=troubled, breaches=breaches)

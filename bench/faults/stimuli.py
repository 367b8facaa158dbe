"""What leads a process to a failpoint that load alone does not lead it to."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy

from bench.faults.observation import Database
from cli import installation
from cli.installation import Installation
from domain.dead_letters import operations
from domain.dead_letters.letters import Filter
from domain.dead_letters.operations import Wanted
from domain.upkeep import ticks
from domain.upkeep.ticks import Tick
from runtime import clock, database
from runtime.settings import Secret, Settings
from workers.schedule import SCHEDULES

_BURY: Final = """
    update tasks set state = 'dead', ended_at = now()
    where id = (select max(id) from tasks where actor = 'upkeep.sweep' and state = 'done') returning id
"""
_SAY_SO: Final = "select append_task_died($1)"
_SET_BACK: Final = """
    with gone as (delete from schedule_ticks where schedule = 'sweep')
    insert into schedule_ticks (schedule, tick, next_tick)
    values ('sweep', now() - interval '2 hours', now() - interval '1 hour')
"""

_HOUR: Final = timedelta(hours=1)
_EVENTS: Final = {schedule.name: schedule.event for schedule in SCHEDULES}

Stimulus = Callable[[str], Awaitable[None]]
"""Is given the name of the process."""


class Stimuli:
    def __init__(self, running: Installation, observed: Database) -> None:
        self._running = running
        self._observed = observed
        self._by_name: dict[str, Stimulus] = {
            "api.in_drain": self._stop,
            "relay.after_lead": self._stop,
            "relay.in_stop": self._stop,
            "relay.before_recovery": self._kill_a_busy_worker,
            "relay.after_recovery": self._kill_a_busy_worker,
            "relay.before_ticks": self._set_schedule_back,
            "relay.after_ticks": self._set_schedule_back,
            "worker.in_failure": self._fail_a_try,
            "worker.before_retry": self._fail_a_try,
            "worker.in_give_back": self._stop_while_busy,
            "worker.after_give_back": self._stop_while_busy,
            "upkeep.between_batches": self._come_due("sweep"),
            "upkeep.before_log": self._come_due("retention"),
            "upkeep.in_storage_check": self._come_due("storage_check"),
            "dead_letters.after_decision": self._discard_a_dead_letter,
            "migration.after_revision": self._migrate,
            "migration.after_functions": self._migrate,
        }

    def of(self, failpoint: str) -> Stimulus | None:
        return self._by_name.get(failpoint)

    def ends(self, failpoint: str) -> bool:
        """Whether what leads there ends the process."""
        return self._by_name.get(failpoint) in {self._stop, self._stop_while_busy}

    async def _stop(self, process: str) -> None:
        """It is started again, since nobody has asked the supervisor to stop it."""
        if pid := self._running.pids().get(process):
            _signal(pid, signal.SIGTERM)

    async def _stop_while_busy(self, process: str) -> None:
        if pid := await self._busy(process):
            _signal(pid, signal.SIGTERM)

    async def _kill_a_busy_worker(self, _: str) -> None:
        if pid := await self._busy("worker-images"):
            _signal(pid, signal.SIGKILL)
        await asyncio.sleep(3)

    async def _busy(self, process: str) -> int:
        """Its pid, at a moment when it holds a task; or after some seconds without one."""
        pid = self._running.pids().get(process, 0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                while not pid or not await self._observed.holds_tasks(pid):
                    await asyncio.sleep(0.002)
                    pid = self._running.pids().get(process, 0)
        return pid

    async def _fail_a_try(self, process: str) -> None:
        arm(self._running.settings.failpoints_dir / process / "worker.after_prepare", "raise")

    async def _set_schedule_back(self, _: str) -> None:
        """As if nobody had looked at the clock for hours."""
        owner = Database(self._running.settings.database_owner_url)
        try:
            await owner.query(_SET_BACK)
        finally:
            await owner.close()

    def _come_due(self, schedule: str) -> Stimulus:
        async def note(_: str) -> None:
            now = clock.machine()
            tick = Tick(schedule=schedule, at=now, following=now + _HOUR, event=_EVENTS[schedule])
            await self._observed.query(ticks.NOTE, ticks.encoded([tick]))

        return note

    async def _discard_a_dead_letter(self, process: str) -> None:
        """One of the installation's own, made for it."""
        await self._come_due("sweep")(process)
        await asyncio.sleep(1)
        buried = [row[0] for row in await self._observed.query(_BURY)]
        await self._observed.query(_SAY_SO, buried)
        settings = self._running.settings
        home = database.Database(settings.database_url, size=1, name="atelier-faults")
        system = database.SystemDatabase(settings.database_system_url, size=1, name="atelier-faults")
        try:
            wanted = Wanted(action="discard", filter=Filter(actor="upkeep.sweep"), reason="made for a trial")
            await operations.start(home, system, wanted, by="faults")
        finally:
            await home.close()
            await system.close()

    async def _migrate(self, _: str) -> None:
        await self.migrate()

    async def migrate(self) -> int:
        """`atelier migrate` on a database of its own, where what is broken off must leave nothing that is in the way of
        the next one. Its exit status.
        """
        environment = dict(os.environ) | installation.to_environment(_elsewhere(self._running.settings))
        command = (sys.executable, "-m", "cli.main", "migrate")
        migration = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        return await migration.wait()


def arm(place: Path, action: str) -> None:
    """All at once: whoever sees the file can read it."""
    ready = place.with_name(f".{place.name}")
    ready.write_text(action)
    ready.rename(place)


def _elsewhere(settings: Settings) -> Settings:
    def other(url: str) -> Secret:
        return Secret(sqlalchemy.make_url(url).set(database="migrated").render_as_string(hide_password=False))

    return msgspec.structs.replace(
        settings,
        database_url=other(settings.database_url),
        database_system_url=other(settings.database_system_url),
        database_owner_url=other(settings.database_owner_url),
    )


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)

"""What is done by the clock, one line each. The leading relay notes each tick together with its event, and `reactions`
say what happens then.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

import asyncpg
import msgspec
from cronsim import CronSim

from domain.events.base import Event
from domain.upkeep import ticks
from domain.upkeep.events import RetentionDue, StorageCheckDue, SweepDue
from domain.upkeep.ticks import Tick
from runtime import clock, failpoints
from runtime.telemetry import logs

log = logs.logger(__name__)

LOOK_SECONDS: Final = 1.0
LATE: Final = timedelta(minutes=2)
"""A tick that nobody noticed for longer was missed."""
MOST_AT_ONCE: Final = 100
"""Of one schedule that catches up, in one look."""

Missed = Literal["each", "last", "none"]


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """`cron` has five fields, in UTC. Of ticks that were `missed`, because no relay led, each is made up for, or the
    last one alone, or none. `clock`: what customers see move goes by the product's, all else by the machine's.
    """

    event: type[Event]
    cron: str
    missed: Missed
    clock: Literal["machine", "product"] = "machine"

    @property
    def name(self) -> str:
        return self.event.type.partition(".")[0]


SCHEDULES: Final = (
    Schedule(event=SweepDue, cron="*/5 * * * *", missed="last"),
    Schedule(event=RetentionDue, cron="30 3 * * *", missed="last"),
    Schedule(event=StorageCheckDue, cron="17 * * * *", missed="none"),
)


async def look(connection: asyncpg.Connection) -> None:
    """Notes what has come due."""
    await note_due(connection, SCHEDULES)


async def note_due(
    connection: asyncpg.Connection, schedules: Sequence[Schedule], now: datetime | None = None
) -> list[str]:
    """The types of the events that were appended. `now`: by the machine's clock."""
    state, machine = await ticks.state(connection), now or clock.machine()
    due: list[Tick] = []
    for schedule in schedules:
        own = machine + state.ahead if schedule.clock == "product" else machine
        due += _due(schedule, state.last.get(schedule.name), own)
    if not due:
        return []
    failpoints.hit("relay.before_ticks")
    appended = await ticks.note(connection, due)
    failpoints.hit("relay.after_ticks")
    for event in appended:
        log.info("came due", event_type=event)
    return appended


def _due(schedule: Schedule, last: datetime | None, now: datetime) -> Iterator[Tick]:
    """A schedule that is new begins with its next tick: the one before is noted as passed over."""
    newest = next(CronSim(schedule.cron, now + timedelta(seconds=1), reverse=True))
    if last is None:
        yield Tick(schedule.name, newest, None)
    elif newest > last:
        yield from _made_up_for(schedule, last, newest, now)


def _made_up_for(schedule: Schedule, last: datetime, newest: datetime, now: datetime) -> Iterator[Tick]:
    if schedule.missed != "each":
        late = schedule.missed == "none" and now - newest > LATE
        yield Tick(schedule.name, newest, None if late else schedule.event)
        return
    for at, _ in zip(CronSim(schedule.cron, last), range(MOST_AT_ONCE), strict=False):
        if at > newest:
            return
        yield Tick(schedule.name, at, schedule.event)

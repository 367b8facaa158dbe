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
from domain.upkeep.events import CollectionDue, RetentionDue, StorageCheckDue, SweepDue
from domain.upkeep.ticks import State, Tick
from runtime import clock, failpoints
from runtime.telemetry import logs, metrics

log = logs.logger(__name__)

LOOK_SECONDS: Final = 1.0
LATE: Final = timedelta(minutes=2)
"""A tick that nobody noticed for longer was missed."""
MOST_AT_ONCE: Final = 100
"""Of one schedule that catches up, in one look."""

TICKS = metrics.counter("atelier_schedule_ticks_total", "Ticks of schedules that were noted.", ["schedule"])
LAST = metrics.gauge(
    "atelier_schedule_last_tick_timestamp_seconds", "The last tick of a schedule, by its own clock.", ["schedule"]
)

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
    Schedule(event=CollectionDue, cron="45 4 * * *", missed="last"),
    Schedule(event=StorageCheckDue, cron="17 * * * *", missed="none"),
)


async def look(connection: asyncpg.Connection) -> None:
    """Notes what has come due."""
    await note_due(connection, SCHEDULES)


async def note_due(
    connection: asyncpg.Connection, schedules: Sequence[Schedule], now: datetime | None = None
) -> list[str]:
    """The names of those that have come due. `now`: by the machine's clock."""
    by_product = {schedule.name: schedule.clock == "product" for schedule in schedules}
    states = await ticks.state(connection, by_product, now or clock.machine())
    due = [tick for schedule in schedules for tick in _due(schedule, states[schedule.name])]
    for name, state in states.items():
        if state.last is not None:
            LAST.labels(name).set(state.last.timestamp())
    if not due:
        return []
    failpoints.hit("relay.before_ticks")
    appended = await ticks.note(connection, due)
    failpoints.hit("relay.after_ticks")
    for name in appended:
        TICKS.labels(name).inc()
        log.info("came due", schedule=name)
    return appended


def _due(schedule: Schedule, state: State) -> Iterator[Tick]:
    """A schedule that is new begins with its next tick: the one before is noted as passed over."""
    newest = next(CronSim(schedule.cron, state.now + timedelta(seconds=1), reverse=True))
    if state.last is None:
        yield _tick(schedule, newest, passed_over=True)
    elif newest > state.last:
        yield from _made_up_for(schedule, state.last, newest, state.now)


def _made_up_for(schedule: Schedule, last: datetime, newest: datetime, now: datetime) -> Iterator[Tick]:
    if schedule.missed != "each":
        yield _tick(schedule, newest, passed_over=schedule.missed == "none" and now - newest > LATE)
        return
    for at, _ in zip(CronSim(schedule.cron, last), range(MOST_AT_ONCE), strict=False):
        if at > newest:
            return
        yield _tick(schedule, at)


def _tick(schedule: Schedule, at: datetime, *, passed_over: bool = False) -> Tick:
    following = next(CronSim(schedule.cron, at))
    return Tick(schedule=schedule.name, at=at, following=following, event=None if passed_over else schedule.event)

"""Noting that a schedule's time has come. The SQL is in `ticks.sql`."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import asyncpg
import msgspec

from domain.events.base import Event
from runtime import clock

_STATE = "select * from schedule_state()"
_NOTE = "select * from note_ticks($1::jsonb)"


class State(msgspec.Struct, frozen=True):
    """`ahead`: of the product clock; `last`: the newest tick of each schedule that was noted."""

    ahead: timedelta
    last: Mapping[str, datetime]


class Tick(msgspec.Struct, frozen=True):
    """`event` None: the tick is passed over, and nothing happens."""

    schedule: str
    at: datetime
    event: type[Event] | None


async def state(connection: asyncpg.Connection) -> State:
    row = await connection.fetchrow(_STATE)
    last = msgspec.json.decode(row["last"], type=dict[str, datetime])
    return State(timedelta(seconds=row["ahead_seconds"]), last)


async def note(connection: asyncpg.Connection, ticks: Sequence[Tick]) -> list[str]:
    """Each with its event, unless somebody has noted it before. The types of the events that were appended."""
    rows = [_row(tick) for tick in ticks]
    return [row[0] for row in await connection.fetch(_NOTE, msgspec.json.encode(rows).decode())]


def _row(tick: Tick) -> dict[str, object]:
    return {
        "schedule": tick.schedule,
        "tick": tick.at,
        "event": tick.event.type if tick.event else None,
        "subject": f"{tick.schedule}@{tick.at:%Y%m%dT%H%MZ}",
        "data": {"tick": clock.rfc3339(tick.at)},
    }

"""Noting that a schedule's time has come. The SQL is in `ticks.sql`."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg
import msgspec
from sqlalchemy import text

from domain.events.base import Event
from runtime import clock
from runtime.database import SystemTransaction, row_dict

_STATE = "select * from schedule_state($1, $2, $3)"
NOTE = "select * from note_ticks($1::jsonb)"
_LATEST = text("select * from latest_ticks()")


class State(msgspec.Struct, frozen=True):
    """Of one schedule: what its clock says, and its last tick until then."""

    now: datetime
    last: datetime | None


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """`following` is when the next one comes. `event` None: the tick is passed over, and nothing happens."""

    schedule: str
    at: datetime
    following: datetime
    event: type[Event] | None


class Latest(msgspec.Struct, frozen=True):
    """The newest tick of a schedule. No `event_id`: it was passed over; no `state`: nothing has reacted to it yet."""

    schedule: str
    tick: datetime
    next_tick: datetime
    event_id: str | None
    state: str | None
    ended_at: datetime | None


async def state(connection: asyncpg.Connection, by_product: Mapping[str, bool], now: datetime) -> dict[str, State]:
    """Of each schedule: whether it goes by the product clock. `now`: by the machine's."""
    rows = await connection.fetch(_STATE, list(by_product), list(by_product.values()), now)
    return {row["name"]: State(row["own_now"], row["last"]) for row in rows}


async def note(connection: asyncpg.Connection, ticks: Sequence[Tick]) -> list[str]:
    """Each with its event, unless somebody has noted it before. The schedules whose events were appended."""
    return [row[0] for row in await connection.fetch(NOTE, encoded(ticks))]


def encoded(ticks: Sequence[Tick]) -> str:
    """What `NOTE` takes."""
    return msgspec.json.encode([_row(tick) for tick in ticks]).decode()


async def latest(tx: SystemTransaction) -> list[Latest]:
    return [Latest(**row_dict(row)) for row in await tx.execute(_LATEST)]


def _row(tick: Tick) -> dict[str, object]:
    return {
        "schedule": tick.schedule,
        "tick": tick.at,
        "next_tick": tick.following,
        "event": tick.event.type if tick.event else None,
        "subject": f"{tick.schedule}@{tick.at:%Y%m%dT%H%MZ}",
        "data": {"tick": clock.rfc3339(tick.at)},
    }

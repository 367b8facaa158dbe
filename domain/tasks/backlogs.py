"""Who has too much waiting: measured and published by the leading relay, read by the API. See `backlogs.sql`."""

from collections.abc import Mapping
from datetime import datetime

import asyncpg
import msgspec

from runtime.database import SystemDatabase

_SAMPLE = "select * from sample_backlogs($1)"
_PUBLISH = "select publish_backlogs($1, $2)"
_CURRENT = "select * from current_backlogs()"


class Waiting(msgspec.Struct, frozen=True):
    """An organization with tasks that could be claimed. `head`: since when the first of them is due, `age` in seconds;
    `capped`: its plan's bound on images at once is what it waits for; `too_deep`: more wait than its plan allows.
    """

    organization_id: str
    head: datetime
    age: float
    capped: bool
    too_deep: bool


async def sample(connection: asyncpg.Connection, queue: str) -> list[Waiting]:
    return [Waiting(**row) for row in await connection.fetch(_SAMPLE, queue)]


async def publish(connection: asyncpg.Connection, seconds: Mapping[str, float]) -> None:
    """By organization, how long its oldest task waits; `org_system` stands for the whole installation."""
    await connection.execute(_PUBLISH, list(seconds), list(seconds.values()))


async def current(system: SystemDatabase) -> dict[str, float]:
    """What was published last, if that is not long ago."""
    rows = await system.call_many(_CURRENT)
    return {row["organization_id"]: row["seconds"] for row in rows}

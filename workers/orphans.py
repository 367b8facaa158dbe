"""Tasks of workers that are gone: found by the leading relay within a second, long before their leases end."""

from typing import Final

import asyncpg

from domain.tasks import owners
from runtime import failpoints
from runtime.telemetry import logs
from workers import measuring

log = logs.logger(__name__)

LOOK_SECONDS: Final = 0.5


class Orphans:
    """A number counts as lost when two looks in a row found nobody who holds it: a worker whose connection broke, or
    whose PostgreSQL was restarted, is back under a new number before that, and its tasks with it.
    """

    def __init__(self) -> None:
        self._missed: set[int] = set()

    async def look(self, connection: asyncpg.Connection) -> None:
        lost = await owners.lost(connection)
        gone, self._missed = lost & self._missed, lost
        if gone:
            failpoints.hit("relay.before_recovery")
            done = await owners.recover(connection, gone)
            failpoints.hit("relay.after_recovery")
            measuring.count(recovered=done.recovered, died=done.died)
            log.warning("workers are gone; tasks are ready again", workers=len(gone), tasks=done.recovered)

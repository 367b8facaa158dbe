"""A step in the database, done again when its connection broke or a lock was in its way.

What is done again may have been committed unheard of. So it is for steps that then change nothing: those that begin
with the fence of a lease, and those that only read.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sqlalchemy.exc import TimeoutError as PoolTimeout

from runtime import database_faults
from runtime.telemetry import logs

log = logs.logger(__name__)

PATIENCE: Final = 60.0
"""Seconds. Whoever holds a lease is stopped much sooner when PostgreSQL stays away, because that cannot be renewed."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0

Result = TypeVar("Result")


async def until_done(step: Callable[[], Awaitable[Result]]) -> Result:
    """Raises what the step raises if it is of another kind, or keeps coming."""
    began, pause = time.monotonic(), FIRST_PAUSE
    while True:
        try:
            return await step()
        except Exception as error:
            if not _passes(error) or time.monotonic() - began > PATIENCE:
                raise
            log.warning("a step in the database is done again", error=type(error).__name__)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def _passes(error: Exception) -> bool:
    state = database_faults.sqlstate(error)
    return (
        isinstance(error, PoolTimeout)
        or database_faults.is_disconnect(error)
        or state in database_faults.CONTENDED | database_faults.BUSY
    )

"""What a process waits for before it begins: a PostgreSQL that answers, and whose schema goes with this code."""

import asyncio
import math
import sys
import time
from typing import Final

import asyncpg
from sqlalchemy.engine import make_url

from migrations import compatibility
from runtime import database
from runtime.settings import Settings

PAUSE: Final = 0.2
TELL_SECONDS: Final = 5.0
LOST: Final = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
"""A server that a command needs is not there, or went away meanwhile."""
_AWAY: Final = (OSError, TimeoutError, *LOST)
_REFUSED: Final = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)


class DatabaseAwayError(Exception):
    """PostgreSQL did not answer for as long as a process waits for it, or does not let it in. One line."""


def wait_for_database(settings: Settings) -> None:
    """Says on standard error what it waits for. Raises DatabaseAwayError, IncompatibleDatabaseError."""
    asyncio.run(_wait(settings))


async def _wait(settings: Settings) -> None:
    place, began, told = _place(settings.database_url), time.monotonic(), -math.inf
    while True:
        try:
            await (await database.connect(settings.database_url, name="atelier-start")).close()
            await compatibility.check(settings.database_system_url)
        except _REFUSED as error:
            raise DatabaseAwayError(f"PostgreSQL at {place} refuses: {error}") from error
        except _AWAY as error:
            waited, reason = time.monotonic() - began, type(error).__name__
            if waited >= settings.database_patience:
                raise DatabaseAwayError(
                    f"PostgreSQL at {place} did not answer for {waited:.0f} s ({reason})"
                ) from error
            if waited - told >= TELL_SECONDS:
                told = waited
                left = max(0.0, settings.database_patience - waited)
                print(f"atelier: waiting for PostgreSQL at {place} ({reason}), {left:.0f} s more", file=sys.stderr)
            await asyncio.sleep(PAUSE)
        else:
            return


def _place(url: str) -> str:
    """Without the password."""
    parts = make_url(url)
    host = parts.query.get("host") or parts.host or "localhost"
    return f"{host}:{parts.port or 5432}/{parts.database or ''}"

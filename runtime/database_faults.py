"""What an error of the database means for whoever asked: may the same be asked again, and what is known then."""

from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

ANY: Final = (
    OSError,
    TimeoutError,
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""Whatever speaking to PostgreSQL may raise: for loops that are to outlive all of it. The last one comes when a
connection breaks in the middle of what the driver expects.
"""

_CLOSED: Final = "the handler is closed"
"""What uvloop says, in a RuntimeError, of a connection that was reset a moment ago."""

# https://www.postgresql.org/docs/current/errcodes-appendix.html
CONTENDED: Final = frozenset({"40001", "40P01"})
BUSY: Final = frozenset({"55P03", "57014"})
_AWAY: Final = frozenset({"53300", "57P01", "57P02", "57P03"})


def origin(error: BaseException) -> BaseException | None:
    """The driver's own error. SQLAlchemy wraps what asyncpg raised twice."""
    if isinstance(error, DBAPIError):
        return getattr(error.orig, "__cause__", None) or error.orig
    return error


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's own code, whether it comes bare or through SQLAlchemy."""
    return getattr(origin(error), "sqlstate", None)


def is_contention(error: BaseException) -> bool:
    """Serialization failures and deadlocks: PostgreSQL undid everything, and the same again may well succeed."""
    return sqlstate(error) in CONTENDED


def is_disconnect(error: BaseException) -> bool:
    """The connection broke or could not be made. Whether the last statement took effect is not known."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, OSError):
        return error.filename is None  # a socket; files have names
    if isinstance(error, RuntimeError):
        return _CLOSED in str(error)
    state = sqlstate(error) or ""
    lost = (TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.ConnectionDoesNotExistError)
    return state in _AWAY or state.startswith("08") or isinstance(error, lost)

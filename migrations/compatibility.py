"""Which code goes with which database (docs/decisions/0013-…): the database may be newer than the code that uses it, as
long as it says that it still carries that code. Revisions are numbered, so the greater number is the newer one.
"""

import asyncio
import functools
from pathlib import Path
from typing import Final

import asyncpg
import msgspec
from sqlalchemy import Connection, text

from migrations import functions
from runtime import database

OLDEST: Final = "0001"
"""The newest revision that the oldest code knows which still runs on this database. A revision that takes away what
older code uses (contract) raises it.
"""

_TABLE: Final = "select to_regclass('public.alembic_version') is not null"
_REVISION: Final = "select version_num from alembic_version"
_KEPT: Final = "select obj_description('public.alembic_version'::regclass)"
_FUNCTIONS: Final = "select proname from pg_proc where pronamespace = 'public'::regnamespace"


class IncompatibleDatabaseError(Exception):
    """The database doesn't go with this code. One line, with what to do."""


class Kept(msgspec.Struct, frozen=True):
    """What a database says of itself, as a comment on alembic's own table; its owner alone can write that."""

    functions: str = ""
    """Their digest."""
    oldest: str = ""


class Standing(msgspec.Struct, frozen=True):
    """Where a database stands. `revision` is empty before the first one."""

    revision: str
    kept: Kept


@functools.cache
def head() -> str:
    """The newest revision that this code knows."""
    return max(file.name[:4] for file in (Path(__file__).parent / "versions").glob("[0-9]*.py"))


def wanted(standing: Standing) -> Kept:
    """What is to be kept once this code's functions are there."""
    return Kept(functions=functions.digest(), oldest=max(OLDEST, standing.kept.oldest))


async def ask(connection: asyncpg.Connection) -> Standing:
    if not await connection.fetchval(_TABLE):
        return Standing("", Kept())
    return Standing(await connection.fetchval(_REVISION) or "", _kept(await connection.fetchval(_KEPT)))


async def refusal(connection: asyncpg.Connection, standing: Standing) -> str:
    """Why this code can't use the database: what is so, a colon, what to do. Empty when it can."""
    mine = head()
    if not standing.revision:
        return "the database has no schema: run `atelier migrate`"
    if standing.revision < mine:
        return f"the database is at revision {standing.revision} and this release wants {mine}: run `atelier migrate`"
    if mine < standing.kept.oldest:
        return _too_old(standing)
    there = {row["proname"] for row in await connection.fetch(_FUNCTIONS)}
    if missing := await asyncio.to_thread(functions.names) - there:
        return f"the database lacks the functions {', '.join(sorted(missing))}: run `atelier migrate`"
    return ""


def require_carried(standing: Standing) -> None:
    """Raises IncompatibleDatabaseError when the database is newer than this code and doesn't carry it any more."""
    if head() < standing.kept.oldest:
        raise IncompatibleDatabaseError(_too_old(standing))


async def check(url: str) -> None:
    """What a process asks before it begins. Raises IncompatibleDatabaseError."""
    connection = await database.connect(url, name="atelier-start")
    try:
        said = await refusal(connection, await ask(connection))
    finally:
        await connection.close()
    if said:
        raise IncompatibleDatabaseError(said)


def read(connection: Connection) -> Standing:
    if not connection.scalar(text(_TABLE)):
        return Standing("", Kept())
    return Standing(connection.scalar(text(_REVISION)) or "", _kept(connection.scalar(text(_KEPT))))


def keep(connection: Connection, kept: Kept) -> None:
    connection.exec_driver_sql(f"comment on table alembic_version is '{msgspec.json.encode(kept).decode()}'")


def _too_old(standing: Standing) -> str:
    return (
        f"the database is at revision {standing.revision} and carries releases from {standing.kept.oldest} on, "
        f"but this one is of {head()}: run a newer release"
    )


def _kept(comment: str | None) -> Kept:
    """Nothing, of a comment that is not ours: then the functions are applied."""
    try:
        return msgspec.json.decode(comment or "{}", type=Kept)
    except msgspec.MsgspecError:
        return Kept()

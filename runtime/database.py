"""The one edge where transactions begin and end. Nothing outside this file commits.

A process speaks to PostgreSQL as one of two roles: `Database` as `atelier_app`, which sees the rows of the
organization that its transaction names and no others (row-level security), and `SystemDatabase` as
`atelier_system`, which touches rows of several organizations through a short list of SQL functions.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NewType

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from runtime.lending import Lending

Transaction = NewType("Transaction", AsyncConnection)
"""A transaction of one organization that may write."""

ReadOnly = NewType("ReadOnly", AsyncConnection)
"""A transaction of one organization that may not; a Transaction serves where one is asked for."""

SystemTransaction = NewType("SystemTransaction", AsyncConnection)
"""A transaction that sees every organization."""

Reader = Transaction | ReadOnly

_SET_ORGANIZATION = text("select set_config('app.organization', :organization, true)")
_SET_READ_ONLY = text(
    "select set_config('transaction_read_only', 'on', true), set_config('app.organization', :organization, true)"
)


_IDLE_IN_TRANSACTION: Final = "10s"
"""No transaction of ours waits for anything but the database, so one that idles belongs to a process that is frozen or
lost. Its locks are let go.
"""
_RANDOM_PAGE_COST: Final = "1.1"
"""Of a disk without a head. PostgreSQL's own guess, 4, makes it read middling tables whole for a few rows."""
_PATIENCE: Final = 10
"""Seconds for which a statement or a transaction waits for a connection of its pool."""
_GOODBYE: Final = 2
"""Seconds for closing a pool. A server that does not answer hears of it when the process has ended."""
_LOCK_TIMEOUT: Final = "5s"
"""Functions that are to wait for less set their own."""
_TCP: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
"""The server gives up a client whose host is gone after some ten seconds, where TCP alone takes hours. The first three
are seconds, seconds and probes; the last is milliseconds.
"""
_BY_INDEX: Final = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
"""Each statement that moves tasks reads few rows by their keys, in tables that are empty at first and long a minute
later: statistics come too late for them, and planning anew costs more than most of them (decision 0015).
"""


class WrongRoleError(Exception):
    """A process was given a superuser's or the owner's address, for whom row-level security would not hold."""


class _Pool:
    """An engine and its pool. `flush=False` is for what moves tasks (claims, dispatch): commits return before they are
    on disk, and statements go by indexes alone.
    """

    def __init__(self, url: str, *, size: int, name: str, flush: bool = True) -> None:
        server_settings = session_settings(make_url(url), name, flush=flush) | {"lock_timeout": _LOCK_TIMEOUT}
        self.engine: AsyncEngine = create_async_engine(
            sqlalchemy_url(url),
            pool_size=size,
            max_overflow=0,
            pool_timeout=_PATIENCE,
            pool_use_lifo=True,
            pool_recycle=1800,
            hide_parameters=True,  # they are the customers' data, and errors get into logs
            connect_args={"server_settings": server_settings, "command_timeout": 30, "timeout": 10},
        )
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)
        self._lending = Lending(self.engine, size=size, patience=_PATIENCE)

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as ending:
            async with self._lending.stepping_back():
                connection = await ending.enter_async_context(self.engine.begin())
            yield connection

    async def call(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        """One statement in autocommit, straight through the driver: it is its own transaction, one round trip.

        For SQL functions that set the organization themselves in their first line. Raises asyncpg's errors.
        """
        return await self._lending.lend(lambda connection: connection.fetchrow(statement, *arguments))

    async def call_many(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """As `call`, for functions that return rows."""
        rows: list[asyncpg.Record] = await self._lending.lend(
            lambda connection: connection.fetch(statement, *arguments)
        )
        return rows

    async def check_role(self) -> None:
        """Raises WrongRoleError unless row-level security binds this role."""
        _checked(await self.call(_ROLE))

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await self._lending.close()
                await self.engine.dispose()


class Database(_Pool):
    """As `atelier_app`: every transaction names its organization."""

    async def check_role(self) -> None:
        """Raises WrongRoleError unless this role sees the rows of one organization at a time."""
        role = _checked(await self.call(_ROLE))
        if role["sees_all"]:
            raise WrongRoleError(f"the database role {role['rolname']} sees every organization's rows; {_GIVE}")

    @asynccontextmanager
    async def transaction(self, organization: str) -> AsyncIterator[Transaction]:
        async with self._begin() as connection:
            await connection.execute(_SET_ORGANIZATION, {"organization": organization})
            yield Transaction(connection)

    @asynccontextmanager
    async def read_only(self, organization: str) -> AsyncIterator[ReadOnly]:
        async with self._begin() as connection:
            await connection.execute(_SET_READ_ONLY, {"organization": organization})
            yield ReadOnly(connection)


class SystemDatabase(_Pool):
    """As `atelier_system`."""

    @asynccontextmanager
    async def system_transaction(self) -> AsyncIterator[SystemTransaction]:
        async with self._begin() as connection:
            yield SystemTransaction(connection)


async def connect(url: str, *, name: str, flush: bool = True, idle_seconds: float | None = None) -> asyncpg.Connection:
    """A connection of its own, outside every pool: for LISTEN, advisory locks and heartbeats.

    `idle_seconds`: the server ends the session, and with it its advisory locks, when nothing is asked for so long.
    """
    parts = make_url(url)
    settings = session_settings(parts, name, flush=flush)
    if idle_seconds is not None:
        settings["idle_session_timeout"] = str(round(idle_seconds * 1000))
    return await asyncpg.connect(
        host=parts.query.get("host") or parts.host,
        port=parts.port,
        user=parts.username,
        password=parts.password,
        database=parts.database,
        server_settings=settings,
        timeout=10,
        command_timeout=30,
    )


def session_settings(url: URL, name: str, *, flush: bool) -> dict[str, str]:
    """What each of our sessions asks of the server as it begins."""
    settings = {
        "application_name": name,
        "jit": "off",
        "random_page_cost": "1.1",
        "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION,
    }
    if not flush:
        settings |= {"synchronous_commit": "off"} | _BY_INDEX
    host = url.query.get("host") or url.host
    return settings | _TCP if isinstance(host, str) and not host.startswith("/") else settings


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """A connection that the server has closed (it was restarted) is replaced before anybody gets it, which costs no
    question. `call` would keep it for ever: the pool sees nothing of the errors of what goes straight to the driver.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def sqlalchemy_url(url: str) -> URL:
    """`postgresql://…` (libpq's form) for SQLAlchemy's asyncpg dialect."""
    return make_url(url).set(drivername="postgresql+asyncpg")


def row_dict(row: Any) -> dict[str, Any]:
    return dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented accessor


_ROLE = """
    select rolname, rolsuper or rolbypassrls as is_free,
        exists(select from pg_class c where c.relowner = r.oid and c.relkind in ('r', 'p')
            and c.relnamespace = 'public'::regnamespace) as owns,
        exists(select from pg_policies p where p.schemaname = 'public' and r.rolname = any (p.roles)
            and p.qual = 'true') as sees_all
    from pg_roles r where rolname = current_user
"""
_GIVE = "give ATELIER_DATABASE_URL the role atelier_app, and ATELIER_DATABASE_SYSTEM_URL atelier_system"


def _checked(role: Any) -> Any:
    if role["is_free"] or role["owns"]:
        raise WrongRoleError(
            f"the database role {role['rolname']} is a superuser, bypasses row-level security or owns tables; {_GIVE}"
        )
    return role

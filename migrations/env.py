"""Alembic's entry point: online as the owner role, offline as SQL text (which `make check` lints)."""

import asyncio
import time
from typing import Final

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from domain.models import metadata
from migrations import compatibility, functions
from runtime import failpoints
from runtime.database import sqlalchemy_url

_LOCK: Final = "select pg_try_advisory_lock(hashtext('atelier.migrate'))"
_PAUSE: Final = 0.1
"""Between two tries: whoever waited in the server would be waited for by the one who builds an index concurrently."""
_LIMITS: Final = {"lock_timeout": "1s", "statement_timeout": "60s"}
"""Whoever waits for a table's lock makes all wait who come after, so it is given up soon; `upgrade` tries again. A
revision may set others for what nobody waits for, and resets them.
"""


def run_offline() -> None:
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    asyncio.run(_migrate(context.config.attributes["url"]))


async def _migrate(url: str) -> None:
    engine = create_async_engine(sqlalchemy_url(url), connect_args={"server_settings": _LIMITS})
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run)
    finally:
        await engine.dispose()


def _run(connection: Connection) -> None:
    """One migrator at a time: the lock is the session's. A revision is a transaction of its own, the functions are one
    after them. A database that is newer than this code is left as it is.
    """
    while not connection.exec_driver_sql(_LOCK).scalar():
        connection.commit()
        time.sleep(_PAUSE)
    standing = compatibility.read(connection)
    connection.commit()
    if standing.revision > compatibility.head():
        compatibility.require_carried(standing)
        context.config.attributes["newer"] = standing.revision
        return
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=False,
        transaction_per_migration=True,
        on_version_apply=_has_run,
    )
    with context.begin_transaction():
        context.run_migrations()
    if context.config.attributes.get("functions"):
        _apply_functions(connection, standing)


def _apply_functions(connection: Connection, standing: compatibility.Standing) -> None:
    kept = compatibility.wanted(standing)
    if kept == standing.kept:
        return
    connection.commit()
    with connection.begin():
        functions.apply(connection)
        compatibility.keep(connection, kept)
        failpoints.hit("migration.after_functions")


def _has_run(**_: object) -> None:
    failpoints.hit("migration.after_revision")


if context.is_offline_mode():
    run_offline()
else:
    run_online()

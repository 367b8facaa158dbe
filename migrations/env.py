"""Alembic's entry point: online as the owner role, offline as SQL text (which `make check` lints)."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from domain.models import metadata
from migrations import definitions
from runtime.database import sqlalchemy_url

_LIMITS = "set lock_timeout = '4s'; set statement_timeout = '60s'"


def run_offline() -> None:
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    asyncio.run(_migrate(context.config.attributes["url"]))


async def _migrate(url: str) -> None:
    engine = create_async_engine(sqlalchemy_url(url))
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run)
            await connection.commit()
    finally:
        await engine.dispose()


def _run(connection: Connection) -> None:
    for statement in _LIMITS.split("; "):
        connection.execute(text(statement))
    connection.execute(text("select pg_advisory_lock(hashtext('atelier.migrate'))"))
    context.configure(connection=connection, target_metadata=metadata, compare_type=True, compare_server_default=False)
    before = context.get_context().get_current_heads()
    with context.begin_transaction():
        context.run_migrations()
        if digest := context.config.attributes.get("digest"):
            if context.get_context().get_current_heads() != before:
                definitions.keep(connection, digest)
            definitions.check(connection, digest)


if context.is_offline_mode():
    run_offline()
else:
    run_online()

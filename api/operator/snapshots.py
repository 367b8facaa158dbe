"""What the operator's pages and lists read in."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from litestar.di import NamedDependency
from sqlalchemy import text

from api.dependencies import Resources
from runtime.database import SystemDatabase, SystemTransaction

_SNAPSHOT = text("set transaction isolation level repeatable read, read only")


async def provide_snapshot(resources: NamedDependency[Resources]) -> AsyncGenerator[SystemTransaction, None]:
    async with opened(resources) as tx:
        yield tx


@contextlib.asynccontextmanager
async def opened(resources: Resources) -> AsyncIterator[SystemTransaction]:
    """One moment of the whole database, in which nothing can be changed."""
    async with across(resources).system_transaction() as tx:
        await tx.execute(_SNAPSHOT)
        yield tx


def across(resources: Resources) -> SystemDatabase:
    assert resources.system is not None  # noqa: S101 - `api.server` opens it for every operator's port
    return resources.system

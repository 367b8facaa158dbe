"""The numbers by which it is seen at once that a worker process is gone, long before its leases end. The SQL is in
`owners.sql` and `recovery.sql`.
"""

from collections.abc import Collection

import asyncpg
import msgspec

_IS_DIRECT = "select pg_backend_pid() = $1"
_DRAW = "select draw_owner_number()"
_LOST = "select * from lost_owners()"
_RECOVER = "select * from recover_orphans($1)"


class Recovered(msgspec.Struct, frozen=True):
    """Of workers that were gone: how many tasks are ready again, and how many died of it for good."""

    recovered: int
    died: int


async def draw(connection: asyncpg.Connection) -> int | None:
    """A number that is held for as long as the connection lives. None where a pooler stands between this process and
    PostgreSQL: what is locked then is the pooler's connection, which says nothing of this process.
    """
    if not await connection.fetchval(_IS_DIRECT, connection.get_server_pid()):
        return None
    number: int = await connection.fetchval(_DRAW)
    return number


async def lost(connection: asyncpg.Connection) -> set[int]:
    """Numbers under which tasks run, and which nobody holds any more."""
    return {row[0] for row in await connection.fetch(_LOST)}


async def recover(connection: asyncpg.Connection, numbers: Collection[int]) -> Recovered:
    """Their tasks are ready again, one death richer, just as if their leases had run out; and so is what they may have
    been told of and have not claimed.
    """
    return Recovered(**await connection.fetchrow(_RECOVER, list(numbers)))

"""What a pool's connections are asked: a statement is a round trip, and round trips decide what a request costs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import event

from runtime.database import Database, SystemDatabase

_OF_THE_DRIVER = ("BEGIN", "COMMIT", "ROLLBACK", "WITH RECURSIVE typeinfo_tree", "SELECT current_setting('jit')")


@contextlib.asynccontextmanager
async def asked(pool: Database | SystemDatabase) -> AsyncIterator[list[str]]:
    """The texts of all statements but those that begin and end transactions, and what a new connection has to learn."""
    texts: list[str] = []
    listening: list[Any] = []

    def note(query: Any) -> None:
        text = " ".join(query.query.split())
        if not text.startswith(_OF_THE_DRIVER):
            texts.append(text)

    def borrowed(connection: Any, *_: object) -> None:
        """What goes straight to the driver is heard of there alone."""
        if connection.driver_connection not in listening:
            connection.driver_connection.add_query_logger(note)
            listening.append(connection.driver_connection)

    def executed(_: object, __: object, text: str, *___: object) -> None:
        texts.append(text)

    engine = pool.engine.sync_engine
    for at_hand in pool._lending._kept:
        borrowed(at_hand.pooled)
    event.listen(engine, "checkout", borrowed)
    event.listen(engine, "before_cursor_execute", executed)
    try:
        yield texts
        await asyncio.sleep(0)  # the driver tells of a statement in the loop's next turn
    finally:
        event.remove(engine, "checkout", borrowed)
        event.remove(engine, "before_cursor_execute", executed)
        for connection in listening:
            if not connection.is_closed():
                connection.remove_query_logger(note)

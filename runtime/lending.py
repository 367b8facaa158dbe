"""Connections of a SQLAlchemy pool for single statements that go straight to the driver: taking one out of the pool and
putting it back costs half as much as a call, so whoever is done hands it to the next.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, TypeVar

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

KEPT: Final = 0.05
"""Seconds for which a connection that nobody wants stays at hand for the next call."""

T = TypeVar("T")


class _Lent(NamedTuple):
    """A connection of the pool, and the driver's own in it."""

    pooled: PoolProxiedConnection
    connection: asyncpg.Connection


class Lending:
    """Lives on one event loop. `size` is the pool's; whoever waits for longer than `patience` seconds, there or here,
    gets SQLAlchemy's TimeoutError.

    At most `size` connections are out here, in use or kept. Whoever comes when all of them are waits in line here, and
    is handed the next. Transactions take theirs from the pool, and go first: while one waits there, calls put back what
    they are done with.
    """

    def __init__(self, engine: AsyncEngine, *, size: int, patience: float) -> None:
        self._pool = engine.sync_engine
        self._size = size
        self._patience = patience
        self._out = 0
        self._at_the_pool = 0
        self._line: deque[asyncio.Future[_Lent | None]] = deque()
        self._kept: list[_Lent] = []
        self._unused = 0
        """Of those kept, from the first on, how many nobody has wanted since the last look."""
        self._tidying: asyncio.Task[None] | None = None

    async def lend(self, use: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Raises what `use` raises, and then trusts the connection no more than the pool does."""
        lent = self._pick() or await self._next()
        try:
            answer = await use(lent.connection)
        except BaseException:
            await self._put_back(lent)
            raise
        if self._at_the_pool:
            await self._put_back(lent)
        else:
            self._hand_on(lent)
        return answer

    @asynccontextmanager
    async def stepping_back(self) -> AsyncIterator[None]:
        """While a transaction waits at the pool."""
        self._at_the_pool += 1
        try:
            if self._kept:
                await self._put_back(self._kept.pop())
                self._unused = min(self._unused, len(self._kept))
            yield
        finally:
            self._at_the_pool -= 1

    async def close(self) -> None:
        if self._tidying is not None:
            self._tidying.cancel()
        while self._kept:
            await self._put_back(self._kept.pop())

    def _pick(self) -> _Lent | None:
        """The one that was used last. One that has broken is left for `_tidy`, and goes back with the others."""
        for place in range(len(self._kept) - 1, -1, -1):
            if not self._kept[place].connection.is_closed():
                self._unused = min(self._unused, place)
                return self._kept.pop(place)
        return None

    async def _next(self) -> _Lent:
        while self._out >= self._size:
            lent = await self._turn()
            if lent is not None and not lent.connection.is_closed():
                return lent
            if lent is not None:
                await self._put_back(lent)
        self._out += 1
        self._at_the_pool += 1
        try:
            pooled = await greenlet_spawn(self._pool.raw_connection)
        except BaseException as error:
            self._out -= 1
            self._tell_next(None)
            if isinstance(error, AsyncAdapt_asyncpg_dbapi.Error):  # SQLAlchemy's own copy of what the driver said
                raise error.__cause__ or error from None
            raise
        finally:
            self._at_the_pool -= 1
        return _Lent(pooled, pooled.driver_connection)

    async def _turn(self) -> _Lent | None:
        """What it is handed; None when there is room at the pool."""
        turn: asyncio.Future[_Lent | None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout(self._patience):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._pass_on(turn.result())
            if isinstance(error, TimeoutError):
                raise PoolTimeout(f"no connection of {self._size} was free for {self._patience:g} s") from None
            raise

    def _pass_on(self, lent: _Lent | None) -> None:
        """What somebody was given who has left."""
        if lent is None:
            self._tell_next(None)
        else:
            self._hand_on(lent)

    def _hand_on(self, lent: _Lent) -> None:
        if self._tell_next(lent):
            return
        self._kept.append(lent)
        if self._tidying is None:
            self._tidying = asyncio.create_task(self._tidy())

    def _tell_next(self, lent: _Lent | None) -> bool:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(lent)
                return True
        return False

    async def _put_back(self, lent: _Lent) -> None:
        self._out -= 1
        self._tell_next(None)
        await greenlet_spawn(lent.pooled.close)

    async def _tidy(self) -> None:
        """Puts back what nobody has wanted for a while, until nothing is kept."""
        while self._kept:
            self._unused = len(self._kept)
            await asyncio.sleep(KEPT)
            while self._unused:
                self._unused -= 1
                await self._put_back(self._kept.pop(0))
        self._tidying = None

"""Does a request again that the database threw back, before anything of an answer has gone out.

After a serialization failure or a deadlock PostgreSQL has undone everything, so any request may be done again. After a
lost connection nobody knows whether the commit took place: only what reads, or carries an Idempotency-Key, may be. A
database that is restarted, or replaced by its standby, is waited for.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from litestar.types import ASGIApp, Message, Receive, Scope, Send
from litestar.utils.scope.state import ScopeState

from runtime import database_faults
from runtime.telemetry import logs

log = logs.logger(__name__)

TRIES: Final = 3
"""After serialization failures and deadlocks."""
PATIENCE: Final = 3.0
"""Seconds after which no more tries are begun while the database is away."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.4
"""Between those tries; the first one comes at once, for it may have been this connection alone."""


T = TypeVar("T")


async def read(ask: Callable[[], Awaitable[T]]) -> T:
    """What only reads, asked again. Raises what the last try raised."""
    began, tries = time.monotonic(), 0
    while True:
        try:
            return await ask()
        except Exception as error:
            tries += 1
            if (rest := _pause(error, tries, time.monotonic() - began)) is None:
                raise
        await asyncio.sleep(rest)


class Retries:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state: dict[str, Any] = scope["state"]
        held: list[Message] = []

        async def hold(message: Message) -> None:
            """An answer that says what could be mended by another try is not sent yet."""
            if held or ("failed_by" in state and _may_be_repeated(scope, state["failed_by"])):
                held.append(message)
            else:
                await send(message)

        began, tries = time.monotonic(), 0
        while True:
            await self._app(scope, receive, hold)
            tries += 1
            if not held or (rest := _pause(state["failed_by"], tries, time.monotonic() - began)) is None:
                break
            log.info("a request is done again", failed_by=type(state["failed_by"]).__name__, tries=tries)
            await asyncio.sleep(rest)
            held.clear()
            del state["failed_by"]
            ScopeState.from_scope(scope).response_started = False  # it did not get past us
        for message in held:
            await send(message)


def _may_be_repeated(scope: Scope, failed_by: BaseException) -> bool:
    if database_faults.is_contention(failed_by):
        return True
    if not database_faults.is_disconnect(failed_by):
        return False
    return scope.get("method") in {"GET", "HEAD"} or any(name == b"idempotency-key" for name, _ in scope["headers"])


def _pause(failed_by: BaseException, tries: int, seconds: float) -> float | None:
    """Seconds to wait before the next try of what may be repeated; None: there is none. `seconds` have passed since
    the first.
    """
    if database_faults.is_contention(failed_by):
        return 0.0 if tries < TRIES else None
    if not database_faults.is_disconnect(failed_by):
        return None
    if tries == 1:
        return 0.0
    return min(FIRST_PAUSE * 2 ** (tries - 2), LONGEST_PAUSE) if seconds < PATIENCE else None

"""Does a request again that the database threw back, before anything of an answer has gone out.

After a serialization failure or a deadlock PostgreSQL has undone everything, so any request may be done again. After a
lost connection nobody knows whether the commit took place: only what reads, or carries an Idempotency-Key, may be.
"""

from typing import Any, Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send
from litestar.utils.scope.state import ScopeState

from api import problems
from runtime.telemetry import logs

log = logs.logger(__name__)

TRIES: Final = 3


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

        for left in reversed(range(TRIES)):
            if held:
                held.clear()
                del state["failed_by"]
                ScopeState.from_scope(scope).response_started = False  # it did not get past us
            await self._app(scope, receive, hold)
            if not held or not left:
                break
            log.info("a request is done again", failed_by=type(state["failed_by"]).__name__, tries_left=left)
        for message in held:
            await send(message)


def _may_be_repeated(scope: Scope, failed_by: BaseException) -> bool:
    if problems.is_contention(failed_by):
        return True
    if not problems.is_disconnect(failed_by):
        return False
    return scope.get("method") in {"GET", "HEAD"} or any(name == b"idempotency-key" for name, _ in scope["headers"])

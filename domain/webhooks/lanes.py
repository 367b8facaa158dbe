"""Which endpoints are slow. The relay sends what goes to slow and to failing ones through a lane of their own, where it
keeps nobody else waiting (`lanes.sql`).
"""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from runtime import database_faults
from runtime.database import SystemDatabase
from runtime.telemetry import logs

log = logs.logger(__name__)

SLOW: Final = timedelta(seconds=3)
"""From an attempt that takes longer than this until the next one that is quicker, an endpoint is slow."""

_MARK = "select mark_endpoint_slow($1, $2)"

Endpoint = tuple[str, str]
"""Organization and id."""


def is_slow(duration_ms: int) -> bool:
    return duration_ms > SLOW / timedelta(milliseconds=1)


class SlowEndpoints:
    """Marks an endpoint while an attempt is still going on: until it has timed out, many more would have joined it."""

    def __init__(self, system: SystemDatabase) -> None:
        self._system = system
        self._marking: dict[Endpoint, asyncio.Task[None]] = {}

    @contextlib.contextmanager
    def watching(self, organization: str, endpoint_id: str) -> Iterator[None]:
        """What happens inside should not last for long."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(SLOW.total_seconds(), self._begin_to_mark, (organization, endpoint_id))
        try:
            yield
        finally:
            timer.cancel()

    def _begin_to_mark(self, endpoint: Endpoint) -> None:
        if endpoint not in self._marking:
            self._marking[endpoint] = asyncio.create_task(self._mark(endpoint))

    async def _mark(self, endpoint: Endpoint) -> None:
        try:
            await self._system.call(_MARK, *endpoint)
        except database_faults.ANY as error:
            log.warning("a slow endpoint was not marked", error=type(error).__name__)
        finally:
            del self._marking[endpoint]

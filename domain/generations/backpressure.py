"""Asking for patience: while too much waits already, new work is refused before it is accepted, not after."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

from domain.errors import DomainError
from domain.generations.errors import InstallationBacklogged, OrganizationBacklogged
from domain.tasks import backlogs
from runtime import database_faults
from runtime.database import SystemDatabase
from runtime.ids import SYSTEM_ORGANIZATION
from runtime.telemetry import logs

log = logs.logger(__name__)

EVERY_SECONDS: Final = 1.0
INSTALLATION_RETRY_AFTER: Final = 10
ORGANIZATION_RETRY_AFTER: Final = 30


class Backpressure:
    """What the leading relay published last, in this process's memory: a request pays for one look into a dict."""

    def __init__(self) -> None:
        self._behind: Mapping[str, float] = {}

    def refusal(self, organization: str) -> DomainError | None:
        """Why new work of the organization should come later."""
        if not self._behind:
            return None
        if (seconds := self._behind.get(SYSTEM_ORGANIZATION)) is not None:
            text = f"images have been waiting for {seconds:.0f} seconds; nothing new is accepted for the moment"
            return InstallationBacklogged(text, retry_after=INSTALLATION_RETRY_AFTER)
        if (seconds := self._behind.get(organization)) is not None:
            text = f"the oldest of the organization's waiting images has waited for {seconds:.0f} seconds"
            return OrganizationBacklogged(text, retry_after=ORGANIZATION_RETRY_AFTER)
        return None

    async def renew(self, system: SystemDatabase) -> None:
        self._behind = await backlogs.current(system)

    @contextlib.asynccontextmanager
    async def kept_fresh(self, system: SystemDatabase) -> AsyncIterator[None]:
        task = asyncio.create_task(self._keep_fresh(system))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_fresh(self, system: SystemDatabase) -> None:
        while True:
            try:
                await self.renew(system)
            except database_faults.ANY as error:
                self._behind = {}
                log.warning("backlogs are not known", error=type(error).__name__)
            await asyncio.sleep(EVERY_SECONDS)

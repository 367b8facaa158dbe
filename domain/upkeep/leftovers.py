"""Objects in the store that nothing refers to: of renders whose record failed, of pictures that were deleted.

Whoever needs an object puts it, even if it is there, before it writes the row that refers to it. So what has no row,
and was not put for longer than any work takes, can go; the store decides that last part itself (`unless_put_since`).
Only objects of known organizations are looked at; all else in the store is somebody else's.
"""

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

import msgspec

from domain.tasks.outcomes import Done, Outcome, Retry
from domain.upkeep.retention import PRUNED
from runtime import clock
from runtime.database import SystemDatabase
from runtime.settings import Settings
from runtime.telemetry import logs
from storage.base import ObjectStore, StoredObject
from storage.errors import ObjectDamagedError, ObjectNotFoundError, StorageUnavailableError

log = logs.logger(__name__)

PAGE: Final = 500
LONGEST: Final = timedelta(minutes=20)
"""Of one run; the organizations are drawn by lot, so that each has its turn some day."""

_ORGANIZATIONS = "select organization_id from organizations"
_UNREFERENCED = "select * from unreferenced_objects($1, $2)"


class Report(msgspec.Struct, kw_only=True):
    """`bytes` of the objects that were found."""

    objects: int = 0
    bytes: int = 0
    deleted: int = 0


async def collect(plan: str, *, system: SystemDatabase, store: ObjectStore, settings: Settings) -> Outcome:
    if not settings.leftover_retention_days:
        return Done()
    try:
        report = await sweep(system, store, settings, delete=True)
    except StorageUnavailableError as error:
        log.warning("the store is away", error=type(error).__name__)
        return Retry("the store is away")
    PRUNED.labels("objects").inc(report.deleted)
    log.info("collected", schedule=plan, **msgspec.structs.asdict(report))
    return Done()


async def sweep(system: SystemDatabase, store: ObjectStore, settings: Settings, *, delete: bool) -> Report:
    """Raises StorageUnavailableError. Killed at any moment, it has deleted some of what it would have."""
    began, report = clock.machine(), Report()
    before = began - timedelta(days=settings.leftover_retention_days)
    organizations = [row[0] for row in await system.call_many(_ORGANIZATIONS)]
    random.shuffle(organizations)
    for organization in organizations:
        async for page in _pages(store, organization):
            if delete and clock.machine() > began + LONGEST:
                return report
            async for found in _without_row(system, store, organization, page):
                if found.modified <= before:
                    report.objects, report.bytes = report.objects + 1, report.bytes + found.size
                    if delete:
                        report.deleted += await store.delete(found.key, unless_put_since=before)
    return report


async def _pages(store: ObjectStore, organization: str) -> AsyncIterator[list[str]]:
    page: list[str] = []
    async for key in store.list(f"o/{organization}/"):
        page.append(key)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


async def _without_row(
    system: SystemDatabase, store: ObjectStore, organization: str, page: list[str]
) -> AsyncIterator[StoredObject]:
    for row in await system.call_many(_UNREFERENCED, organization, page):
        try:
            yield await store.stat(row[0])
        except (ObjectNotFoundError, ObjectDamagedError):
            continue

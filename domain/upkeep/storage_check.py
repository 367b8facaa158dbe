"""Whether the store works, and still has what it was given: by a sample, since nobody misses an image until it is
asked for.
"""

import random
from datetime import timedelta
from typing import Final

import asyncpg

from domain.tasks.outcomes import Done, Outcome, Retry
from runtime import clock, failpoints, ids
from runtime.database import SystemDatabase
from runtime.telemetry import logs, metrics
from storage.base import ObjectStore
from storage.errors import ObjectDamagedError, ObjectNotFoundError, StorageUnavailableError

log = logs.logger(__name__)

SAMPLE: Final = 20
SPAN: Final = timedelta(days=365)
"""How far back images are drawn from."""

CHECKED = metrics.counter(
    "atelier_storage_checks_total", "Images that were looked for in the store, by what was found.", ["result"]
)

_SAMPLE = "select * from sample_assets($1, $2)"


async def check(plan: str, *, system: SystemDatabase, store: ObjectStore) -> Outcome:
    """Each image that is missing or damaged is an error in the log, with its id."""
    moment = clock.machine() - SPAN * random.random()  # noqa: S311 - which images are drawn is no secret
    try:
        await store.check()
        failpoints.hit("upkeep.in_storage_check")
        drawn = await system.call_many(_SAMPLE, ids.earliest("ast", moment), SAMPLE)
        found = [await _look(store, row) for row in drawn]
    except StorageUnavailableError as error:
        CHECKED.labels("unavailable").inc()
        log.warning("the store is away", error=type(error).__name__)
        return Retry("the store is away")
    log.info("looked into the store", schedule=plan, images=len(found), wrong=len(found) - found.count("ok"))
    return Done()


async def _look(store: ObjectStore, asset: asyncpg.Record) -> str:
    try:
        stored = await store.stat(asset["storage_key"])
        result = "ok" if (stored.sha256, stored.size) == (asset["sha256"], asset["bytes"]) else "damaged"
    except ObjectNotFoundError:
        result = "missing"
    except ObjectDamagedError:
        result = "damaged"
    CHECKED.labels(result).inc()
    if result != "ok":
        log.error("an image is not what it was", organization=asset["organization_id"], asset=asset["id"], found=result)
    return result

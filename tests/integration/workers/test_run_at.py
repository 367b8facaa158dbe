"""Generations for a later time: kept in PostgreSQL, taken up when their time has come, by whoever leads then."""

from datetime import timedelta
from typing import Any

import pytest
import redis

from domain.generations import lifecycle
from runtime import clock
from tests.integration.workers.conftest import Spine
from tests.integration.workers.relays import Recording, running, until

SOON = timedelta(seconds=5)


@pytest.fixture
async def scheduled(spine: Spine) -> Any:
    """The id of one whose time comes in a moment, and its task's."""
    generation_id = await spine.accept(run_at=clock.product() + SOON)
    await spine.step()
    return generation_id, await spine.value("select id from tasks where subject = :id", id=generation_id)


async def test_it_is_sent_at_its_time_and_not_before_though_redis_was_wiped_and_nobody_nudges(
    spine: Spine, scheduled: Any
) -> None:
    generation_id, task = scheduled
    with redis.Redis.from_url(spine.settings.redis_url) as client:
        client.flushall()
    broker = Recording()
    async with running(spine, broker):
        await until(lambda: _sent(broker, task), seconds=30)
    times = "select dispatched_at >= run_at, run_at - created_at > interval '0' from tasks where id = :id"
    assert tuple((await spine.rows(times, id=task))[0]) == (True, True)
    await spine.executor.run([task])
    assert await spine.status(generation_id) == "succeeded"


async def test_one_that_is_cancelled_before_its_time_is_never_sent_and_gives_its_credits_back(
    spine: Spine, scheduled: Any
) -> None:
    generation_id, task = scheduled
    async with spine.database.transaction(spine.organization.id) as tx:
        await lifecycle.cancel(tx, spine.organization.id, generation_id, by="caller", traceparent=None)
    await spine.drain()
    assert await spine.value("select state from tasks where id = :id", id=task) == "cancelled"
    assert await spine.available() == 100
    assert await spine.entries(generation_id) == ["hold", "release"]


async def _sent(broker: Recording, task: int) -> bool:
    return task in broker.sent

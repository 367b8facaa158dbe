"""Tasks whose worker loses PostgreSQL in the middle of a step: nothing of it counts as a failure or a death."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bench.faults.proxy import Link
from domain.generations import lifecycle
from runtime import clock
from runtime.database import Database, SystemDatabase
from runtime.settings import Settings
from tests.integration.workers.conftest import Spine
from workers.actor import ACTORS
from workers.execution import Executor

RENDER = lifecycle.RENDER
COUNTS = "select attempts + deaths + jsonb_array_length(failures) from tasks where actor = :actor"


@pytest.fixture
async def executor(spine: Spine, through: Settings) -> AsyncIterator[Executor]:
    """Reaches PostgreSQL over the link."""
    database = Database(through.database_url, size=2, name="app")
    system = SystemDatabase(through.database_system_url, size=2, name="claims")
    yield Executor(database, system, spine.tools, ACTORS, lease=timedelta(seconds=30))
    await database.close()
    await system.close()


@pytest.mark.parametrize("lost", ["claims", "app"])
async def test_a_commit_that_a_worker_never_hears_of_costs_its_task_nothing(
    spine: Spine, executor: Executor, link: Link, lost: str
) -> None:
    generation = await spine.accept()
    heard: list[str] = []
    link.ambush(lost, 3, lambda _, what: heard.append(what))
    await executor.run(await spine.dispatch(RENDER))
    assert await spine.status(generation) == "succeeded"
    assert await spine.entries(generation) == ["hold", "settle"]
    assert await spine.value(COUNTS, actor=RENDER) == 0
    if lost == "claims":
        assert heard[:2] == ["claim_and_start", "claim_and_start"]
    link.call_off(lost)


async def test_a_record_waits_until_postgresql_is_there_again(spine: Spine, executor: Executor, link: Link) -> None:
    generation = await spine.accept()
    ids = await spine.dispatch(RENDER)
    link.refuses = True
    link.cut()
    running = asyncio.create_task(executor.run(ids))
    await asyncio.sleep(0.3)
    assert not running.done()
    link.refuses = False
    async with asyncio.timeout(60):
        await running
    assert await spine.status(generation) == "succeeded"
    assert await spine.value(COUNTS, actor=RENDER) == 0


async def test_a_task_that_the_worker_holds_is_not_claimed_again_by_a_doubled_message(
    spine: Spine, executor: Executor
) -> None:
    await spine.accept()
    ids = await spine.dispatch(RENDER)
    await asyncio.gather(*(executor.run(ids) for _ in range(4)))
    assert await spine.value("select count(*) from tasks where actor = :actor and state = 'done'", actor=RENDER) == 1
    token = await spine.value("select lease_token from tasks where actor = :actor", actor=RENDER)
    assert await spine.value("select nextval('lease_tokens')") == token + 1


async def test_a_later_try_is_as_far_away_as_a_worker_with_a_wrong_clock_means_it(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spine.accept()
    ids = await spine.dispatch(RENDER)
    right = clock.machine
    monkeypatch.setattr("runtime.clock.machine", lambda: right() - timedelta(minutes=2))
    monkeypatch.setattr("runtime.failpoints.hit", _fail)
    await spine.executor.run(ids)
    waits = await spine.value("select extract(epoch from run_at - now())::float from tasks where actor = :a", a=RENDER)
    assert -30 < waits < 30


def _fail(name: str) -> None:
    if name == "worker.before_record":
        raise RuntimeError(name)

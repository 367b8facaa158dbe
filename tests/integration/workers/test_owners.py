"""Workers that are gone are noticed by the lock that nobody holds any more; those that only lost a connection go on."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from domain.generations import lifecycle
from domain.tasks import claims, owners
from domain.tasks.outcomes import Task
from runtime import failpoints
from tests.integration.workers.conftest import Spine
from tests.integration.workers.relays import Recording, running, until
from workers.holdings import Heartbeat, Holdings
from workers.orphans import Orphans

LEASE = timedelta(minutes=1)
LOCKS = """
    select count(*) from pg_locks where locktype = 'advisory' and classid = 4711
    and database = (select oid from pg_database where datname = current_database())
"""
WORKER = """
import asyncio, os, sys
from datetime import timedelta
from domain.tasks import claims
from runtime.database import SystemDatabase
from workers.holdings import Heartbeat, Holdings

async def main(url, task):
    holdings = Holdings()
    Heartbeat(url, holdings, timedelta(minutes=1)).start()
    while holdings.number is None:
        await asyncio.sleep(0.01)
    system = SystemDatabase(url, size=1, name="test-worker")
    [claimed] = await claims.claim(system, [task], actors=["generations.render"], owner="host/1/x",
        lease=timedelta(minutes=1), number=holdings.number)
    with holdings.hold(claimed.id, claimed.lease_token):
        print("holds", flush=True)
        await asyncio.sleep(60)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@contextlib.asynccontextmanager
async def beating(spine: Spine) -> AsyncIterator[Holdings]:
    holdings = Holdings()
    heartbeat = Heartbeat(spine.settings.database_system_url, holdings, LEASE)
    heartbeat.start()
    try:
        await until(_numbered(holdings))
        yield holdings
    finally:
        await asyncio.to_thread(heartbeat.stop)


@pytest.fixture
async def task_id(spine: Spine) -> int:
    await spine.accept()
    return (await spine.dispatch(lifecycle.RENDER))[0]


async def claim(spine: Spine, task_id: int, holdings: Holdings) -> Task:
    [claimed] = await claims.claim(
        spine.system, [task_id], actors=[lifecycle.RENDER], owner="host/1/x", lease=LEASE, number=holdings.number
    )
    return claimed


async def test_the_tasks_of_a_killed_process_run_again_long_before_its_lease_ends(spine: Spine, task_id: int) -> None:
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, spine.settings.database_system_url, str(task_id), stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"holds\n"
    broker = Recording()
    async with running(spine, broker):
        await asyncio.sleep(1.5)
        assert await _state(spine, task_id) == ("running", 0), "it lives"
        worker.kill()
        await worker.wait()
        await until(_sent(broker, task_id), seconds=30)
    assert await _state(spine, task_id) == ("dispatched", 1)
    [failure] = await spine.value("select failures from tasks where id = :id", id=task_id)
    assert (failure["kind"], failure["reason"], failure["owner"]) == ("death", "its worker died", "host/1/x")


async def test_one_look_is_not_enough(spine: Spine, task_id: int) -> None:
    async with beating(spine) as holdings:
        await claim(spine, task_id, holdings)
    orphans = Orphans()
    await orphans.look(spine.connection)
    assert await _state(spine, task_id) == ("running", 0)
    await orphans.look(spine.connection)
    assert await _state(spine, task_id) == ("ready", 1)


async def test_a_worker_whose_connection_breaks_goes_on_under_a_new_number(spine: Spine, task_id: int) -> None:
    async with beating(spine) as holdings:
        before = holdings.number
        claimed = await claim(spine, task_id, holdings)
        with holdings.hold(claimed.id, claimed.lease_token) as holding:
            await spine.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'atelier-heartbeat'"
            )
            async with running(spine, Recording()):
                await until(lambda: _owned_by(spine, task_id, holdings, before))
                await asyncio.sleep(1.5)
            assert not holding.stopped
    assert await _state(spine, task_id) == ("running", 0)


async def test_what_was_given_to_another_while_the_connection_was_broken_is_stopped(spine: Spine, task_id: int) -> None:
    async with beating(spine) as holdings:
        claimed = await claim(spine, task_id, holdings)
        stopped = asyncio.create_task(_until_stopped(holdings, claimed))
        await asyncio.sleep(0)
        await owners.recover(spine.connection, [holdings.number or 0])
        await spine.rows(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'atelier-heartbeat'"
        )
        async with asyncio.timeout(5):
            await stopped
    assert await _state(spine, task_id) == ("ready", 1)


async def test_the_third_death_buries_as_with_leases(spine: Spine, task_id: int) -> None:
    for _ in range(3):
        async with beating(spine) as holdings:
            await claim(spine, task_id, holdings)
            number = holdings.number or 0
        done = await owners.recover(spine.connection, [number])
        assert done.recovered == 1
    assert done.died == 1
    assert await _state(spine, task_id) == ("dead", 3)
    assert await spine.value("select count(*) from events where type = 'task.died'") == 1


async def test_what_a_lost_worker_may_have_taken_and_not_claimed_is_sent_again_with_what_it_held(
    spine: Spine, task_id: int
) -> None:
    await spine.accept()
    [unclaimed] = await spine.dispatch(lifecycle.RENDER)
    await spine.connection.execute("update tasks set dispatched_at = now() - interval '1 second'")
    await spine.accept()
    [just_sent] = await spine.dispatch(lifecycle.RENDER)
    later = "update tasks set dispatched_at = now() + interval '1 minute' where id = $1"
    await spine.connection.execute(later, just_sent)
    async with beating(spine) as holdings:
        await claim(spine, task_id, holdings)
        number = holdings.number or 0
    done = await owners.recover(spine.connection, [number])
    assert done == owners.Recovered(recovered=2, died=0)
    assert await _state(spine, task_id) == ("ready", 1)
    assert await _state(spine, unclaimed) == ("ready", 0), "nothing is known against it"
    assert await _state(spine, just_sent) == ("dispatched", 0), "after that worker was gone"


async def test_a_number_is_given_back_with_its_process(spine: Spine) -> None:
    async with beating(spine):
        assert await spine.value(LOCKS) == 1
    await until(lambda: _nobody(spine))


def _numbered(holdings: Holdings, other_than: int | None = None) -> Callable[[], Any]:
    async def numbered() -> bool:
        return holdings.number not in {None, other_than}

    return numbered


def _sent(broker: Recording, task_id: int) -> Callable[[], Any]:
    async def sent() -> bool:
        return task_id in broker.sent

    return sent


async def _nobody(spine: Spine) -> bool:
    return bool(await spine.value(LOCKS) == 0)


async def _owned_by(spine: Spine, task_id: int, holdings: Holdings, before: int | None) -> bool:
    number = await spine.value("select owner_number from tasks where id = :id", id=task_id)
    return number == holdings.number != before


async def _state(spine: Spine, task_id: int) -> tuple[str, int]:
    return tuple((await spine.rows("select state, deaths from tasks where id = :id", id=task_id))[0])


async def _until_stopped(holdings: Holdings, claimed: Task) -> None:
    with holdings.hold(claimed.id, claimed.lease_token) as holding, contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(30)
    assert holding.stopped


async def test_a_heartbeat_outlives_an_error_that_nobody_expected(spine: Spine, task_id: int) -> None:
    async with beating(spine) as holdings:
        first = holdings.number
        task = await claim(spine, task_id, holdings)
        failpoints.configure("heartbeat.before_renewal=raise")
        try:
            with holdings.hold(task.id, task.lease_token):
                await until(_numbered(holdings, other_than=first))
        finally:
            failpoints.configure("")

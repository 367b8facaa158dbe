"""A claim that begins what is to be drawn, in the same transaction."""

from typing import Any

from sqlalchemy import text

from domain.generations import batches, lifecycle
from domain.tasks import claims
from domain.tasks.outcomes import Task
from runtime.settings import Settings
from tests.integration.domain.ledger import BADGE, LEASE, Ledger

EVERY = (lifecycle.RENDER, "generations.withdraw")


async def claimed(ledger: Ledger) -> list[Task]:
    await ledger.expand()
    there = [row.id for row in await ledger.rows("select id from tasks order by id")]
    return await claims.claim(ledger.system, there, actors=EVERY, owner="a test", lease=LEASE, function=batches.CLAIM)


async def test_what_is_claimed_to_be_drawn_runs_and_its_request_comes_with_it(
    ledger: Ledger, settings: Settings
) -> None:
    first, second = await ledger.generation(), await ledger.generation(input=BADGE | {"caption": "here"})
    tasks = {task.subject: task for task in await claimed(ledger)}
    assert tasks.keys() == {first, second}
    assert tasks[second].begun == {"template": "badge", "request": {"input": BADGE | {"caption": "here"}, "output": {}}}
    assert [await ledger.status(each) for each in (first, second)] == ["running", "running"]
    plans = await batches.start(ledger.system, list(tasks.values()), settings=settings)
    assert [plan and plan.input for plan in plans] == [BADGE, BADGE | {"caption": "here"}]


async def test_a_generation_that_has_ended_is_not_begun_and_a_task_of_another_actor_neither(ledger: Ledger) -> None:
    ended = await ledger.generation()
    async with ledger.database.transaction(ledger.organization) as tx:
        await lifecycle.cancel(tx, ledger.organization, ended, by="caller", traceparent=None)
    tasks = {task.actor: task for task in await claimed(ledger)}
    assert tasks.keys() == set(EVERY)
    assert [task.begun for task in tasks.values()] == [None, None]
    assert await ledger.status(ended) == "cancelled"


async def test_it_waits_for_no_generation_that_somebody_has_locked(ledger: Ledger, settings: Settings) -> None:
    locked, free = await ledger.generation(), await ledger.generation()
    async with ledger.database.transaction(ledger.organization) as tx:
        await tx.execute(text("select from generations where id = :id for update"), {"id": locked})
        tasks = {task.subject: task for task in await claimed(ledger)}
        assert [tasks[each].begun is None for each in (locked, free)] == [True, False]
        left: list[Any] = await batches.start(ledger.system, [tasks[locked]], settings=settings)
        assert left == [None], "it is begun by itself, and may wait"
    assert [await ledger.status(each) for each in (locked, free)] == ["queued", "running"]
    [plan] = await batches.start(ledger.system, [tasks[locked]], settings=settings)
    assert plan is not None
    assert await ledger.status(locked) == "running"


async def test_nothing_to_claim_is_fine(ledger: Ledger) -> None:
    assert await claimed(ledger) == []


async def test_a_claim_that_nobody_heard_of_is_made_again_with_all_that_it_had_begun(ledger: Ledger) -> None:
    for _ in range(3):
        await ledger.generation()
    unheard, again = await claimed(ledger), await claimed(ledger)
    assert [(task.id, task.begun) for task in again] == [(task.id, task.begun) for task in unheard]
    assert all(task.begun for task in again)
    assert {task.lease_token for task in again}.isdisjoint({task.lease_token for task in unheard})

"""Many letters at once: each once, at a rate, whatever happens to those who carry it out."""

import asyncio
import time
from datetime import timedelta

import pytest

from domain.dead_letters import carrying_out, decisions, operations
from domain.dead_letters.errors import BulkOperationNotFound, BulkOperationOver
from domain.dead_letters.letters import Filter
from domain.dead_letters.operations import HOME, Operation, Wanted
from domain.tasks import claims
from runtime import failpoints
from tests.integration.domain.dead_letters.conftest import dead_render
from workers.actors import dead_letters as actors

REPLAY_ALL = Wanted(action="replay", filter=Filter(), rate=100)


async def start(spine, wanted: Wanted = REPLAY_ALL, **values) -> str:
    return await operations.start(spine.database, spine.system, wanted, by="operator", **values)


async def read(spine, operation_id: str) -> Operation:
    async with spine.system.system_transaction() as tx:
        return await operations.get(tx, operation_id)


async def due(spine) -> None:
    """What waits for its next try is tried now."""
    await spine.value("with moved as (update tasks set run_at = now() where state = 'ready' returning 1) select 1")
    await spine.drain()


async def replays(spine) -> list[str]:
    return [row[0] for row in await spine.rows("select subject from events where type = 'generation.retried'")]


async def test_all_that_fit_are_replayed_and_each_has_an_audit_entry(ledger, spine, one_by_one):
    tasks = [await dead_render(ledger) for _ in range(4)]
    other = await dead_render(ledger, reason="a font is missing")
    wanted = Wanted(action="replay", filter=Filter(reason="STORE"), rate=100)
    operation_id = await start(spine, wanted)
    await spine.drain()
    operation = await read(spine, operation_id)
    assert (operation.status, operation.matched, operation.replayed, operation.refused) == ("completed", 4, 4, 0)
    assert sorted(await replays(spine)) == sorted(task.subject for task in tasks)
    assert [await ledger.status(task.subject) for task in [*tasks, other]] == ["succeeded"] * 4 + ["failed"]
    entries = await spine.rows("select * from audit_entries where action = 'dead_letter.replayed'")
    assert {entry.details["operation"] for entry in entries} == {operation_id}
    assert sorted(entry.subject for entry in entries) == sorted(str(task.id) for task in tasks)
    (begun,) = await spine.rows("select * from audit_entries where organization_id = :home", home=HOME)
    assert (begun.action, begun.details["wanted"]["filter"]) == ("bulk_operation.started", {"reason": "STORE"})


async def test_what_the_domain_refuses_is_counted_by_why_and_the_rest_goes_on(ledger, spine):
    tasks = [await dead_render(ledger) for _ in range(3)]
    await ledger.rows("update credit_accounts set available = 2 returning 1")
    operation_id = await start(spine)
    await spine.drain()
    operation = await read(spine, operation_id)
    assert (operation.status, operation.replayed, operation.decided) == ("completed", 2, 3)
    assert operation.refused_by_code == {"insufficient_credits": 1}
    assert await ledger.value("select failures -> -1 ->> 'kind' from tasks where id = :id", id=tasks[2].id) == "refusal"


async def test_one_whose_decision_goes_wrong_is_refused_and_the_rest_goes_on(ledger, spine, monkeypatch):
    tasks = [await dead_render(ledger) for _ in range(3)]
    begin_anew = decisions.begin_anew

    async def wrong_for_the_second(tx, letter, **details):
        if letter.id == tasks[1].id:
            raise KeyError(letter.id)
        await begin_anew(tx, letter, **details)

    monkeypatch.setattr(decisions, "begin_anew", wrong_for_the_second)
    operation_id = await start(spine)
    await spine.drain()
    operation = await read(spine, operation_id)
    assert (operation.status, operation.replayed, operation.decided) == ("completed", 2, 3)
    assert operation.refused_by_code == {"internal_error": 1}
    query = "select state, failures -> -1 ->> 'reason' from tasks where id = :id"
    [row] = await spine.rows(query, id=tasks[1].id)
    assert tuple(row) == ("dead", "something went wrong here (internal_error)")


async def test_many_are_discarded_with_one_reason(ledger, spine):
    for _ in range(3):
        await dead_render(ledger)
    wanted = Wanted(action="discard", filter=Filter(), rate=100, reason="a test gone wrong")
    operation = await read(spine, await start(spine, wanted))
    await spine.drain()
    operation = await read(spine, operation.id)
    assert (operation.status, operation.discarded, operation.replayed) == ("completed", 3, 0)
    assert await spine.value("select count(*) from tasks where state = 'dead'") == 0
    reasons = await spine.rows("select details ->> 'reason' from audit_entries where action = 'dead_letter.discarded'")
    assert [row[0] for row in reasons] == ["a test gone wrong"] * 3


async def test_what_dies_again_meanwhile_is_left_for_the_next_one(ledger, spine, one_by_one):
    await dead_render(ledger)
    operation_id = await start(spine)
    await spine.dispatch("nobody's")
    late = await dead_render(ledger)
    await spine.drain()
    assert (await read(spine, operation_id)).replayed == 1
    assert await spine.value("select state from tasks where id = :id", id=late.id) == "dead"


async def test_after_a_fault_it_goes_on_where_it_was_and_decides_none_twice(ledger, spine):
    tasks = [await dead_render(ledger) for _ in range(4)]
    operation_id = await start(spine)
    failpoints.configure("dead_letters.after_decision=raise@2")
    try:
        await spine.executor.run(await spine.dispatch(actors.carry_out.name))
        assert (await read(spine, operation_id)).decided == 2
    finally:
        failpoints.configure("")
    await due(spine)
    operation = await read(spine, operation_id)
    assert (operation.status, operation.replayed) == ("completed", 4)
    assert sorted(await replays(spine)) == sorted(task.subject for task in tasks)


async def test_two_who_carry_out_the_same_slice_decide_each_letter_once(ledger, spine):
    """A worker that was thought to be gone, and the one that took over."""
    for _ in range(6):
        await dead_render(ledger)
    await start(spine)
    (task,) = await claims.claim(
        spine.system, await spine.dispatch(actors.carry_out.name), actors=[actors.carry_out.name], owner="both",
        lease=timedelta(seconds=30),
    )  # fmt: skip
    async with spine.database.transaction(HOME) as tx:
        plan = await carrying_out.begin(tx, task)
    assert plan is not None
    await asyncio.gather(
        *(carrying_out.carry_out(plan, database=spine.database, system=spine.system) for _ in range(2))
    )
    assert len(await replays(spine)) == 6
    assert await spine.value("select count(*) from bulk_decisions") == 6


async def test_the_rate_is_kept_over_slices(ledger, spine, one_by_one):
    for _ in range(4):
        await dead_render(ledger)
    operation_id = await start(spine, Wanted(action="discard", filter=Filter(), rate=10, reason="a test"))
    began = time.monotonic()
    await spine.drain()
    assert time.monotonic() - began > 0.25
    assert (await read(spine, operation_id)).discarded == 4


async def test_a_cancelled_one_decides_nothing_more(ledger, spine, one_by_one):
    for _ in range(3):
        await dead_render(ledger)
    operation_id = await start(spine)
    await spine.executor.run(await spine.dispatch(actors.carry_out.name))
    await operations.cancel(spine.database, operation_id, by="operator")
    await spine.drain()
    operation = await read(spine, operation_id)
    assert (operation.status, operation.decided) == ("cancelled", 1)
    assert operation.ended_at is not None
    with pytest.raises(BulkOperationOver):
        await operations.cancel(spine.database, operation_id, by="operator")
    with pytest.raises(BulkOperationNotFound):
        await operations.cancel(spine.database, "blk_x", by="operator")
    actions = await spine.rows("select action from audit_entries where organization_id = :home order by id", home=HOME)
    assert [row[0] for row in actions] == ["bulk_operation.started", "bulk_operation.cancelled"]


async def test_the_same_id_twice_starts_it_once(ledger, spine):
    await dead_render(ledger)
    first, second = await start(spine, operation_id="blk_1"), await start(spine, operation_id="blk_1")
    assert first == second
    assert await spine.value("select count(*) from events where type = 'bulk_operation.started'") == 1


async def test_one_whose_task_died_has_failed_and_goes_on_when_that_is_replayed(ledger, spine, one_by_one):
    for _ in range(2):
        await dead_render(ledger)
    operation_id = await start(spine)
    for _ in range(3):
        ids = await spine.dispatch(actors.carry_out.name)
        name = actors.carry_out.name
        await claims.claim(spine.system, ids, actors=[name], owner="doomed", lease=timedelta(seconds=30))
        await spine.expire_leases()
    await spine.drain()
    assert (await read(spine, operation_id)).status == "failed"
    await start(spine, Wanted(action="replay", filter=Filter(actor=actors.carry_out.name), rate=100))
    await spine.drain()
    operation = await read(spine, operation_id)
    assert (operation.status, operation.replayed) == ("completed", 2)

"""Leases: taken once, kept, given back, lost; and how a try ends."""

import asyncio
from datetime import timedelta

import pytest

from domain.generations.events import GenerationAccepted
from domain.generations.lifecycle import RENDER
from domain.tasks import claims
from domain.tasks.outcomes import Task
from runtime import clock
from runtime import database as runtime_database
from tests.integration.domain.ledger import LEASE, Ledger


async def task(ledger: Ledger) -> Task:
    """Claimed."""
    generation_id = await ledger.generation()
    (claimed,) = await ledger.claim(subject=generation_id)
    return claimed


async def row(ledger: Ledger, claimed: Task):
    return (await ledger.rows("select * from tasks where id = :id", id=claimed.id))[0]


async def test_a_claimed_task_carries_the_event_that_it_reacts_to(ledger):
    claimed = await task(ledger)
    assert (claimed.actor, claimed.target, claimed.attempts, claimed.deaths) == (RENDER, "", 0, 0)
    assert claimed.organization_id == ledger.organization
    assert isinstance(claimed.event, GenerationAccepted)
    assert claimed.event.subject == claimed.subject
    assert (claimed.cause.correlation_id, claimed.cause.causation_id) == (claimed.subject, claimed.event_id)
    there = await row(ledger, claimed)
    assert (there.state, there.lease_token, there.owner) == ("running", claimed.lease_token, "a test")


async def test_of_many_who_claim_at_once_one_gets_the_task(ledger):
    await ledger.generation()
    await ledger.expand()
    (task_id,) = await ledger.rows("select id from tasks")
    asked = (
        claims.claim(ledger.system, [task_id.id], actors=[RENDER], owner=str(number), lease=LEASE)
        for number in range(6)
    )
    assert sorted(len(got) for got in await asyncio.gather(*asked)) == [0, 0, 0, 0, 0, 1]


async def test_what_is_for_another_actor_not_due_or_not_there_is_left(ledger):
    await ledger.generation()
    await ledger.expand()
    (there,) = await ledger.rows("update tasks set run_at = now() + interval '1 hour' returning id")
    for ids, actors in (
        ([there.id], [RENDER]),
        ([there.id], ["webhooks.deliver"]),
        ([987654], [RENDER]),
        ([], [RENDER]),
    ):
        assert await claims.claim(ledger.system, ids, actors=actors, owner="a test", lease=LEASE) == []


async def test_a_lease_goes_on_while_it_is_ours(ledger, settings):
    kept, lost = await task(ledger), await task(ledger)
    await ledger.rows("update tasks set lease_token = 0 where id = :id returning id", id=lost.id)
    before = (await row(ledger, kept)).lease_until
    connection = await runtime_database.connect(settings.database_system_url, name="test")
    held = {kept.id: kept.lease_token, lost.id: lost.lease_token}
    assert await claims.renew(connection, held, LEASE * 2) == {kept.id}
    await connection.close()
    assert (await row(ledger, kept)).lease_until > before + LEASE / 2


async def test_what_is_given_back_is_ready_at_once_and_nothing_is_counted(ledger):
    ours, lost = await task(ledger), await task(ledger)
    assert await claims.give_back(ledger.system, {ours.id: ours.lease_token, lost.id: -1}) == 1
    there = await row(ledger, ours)
    assert (there.state, there.attempts, there.deaths, there.lease_until) == ("ready", 0, 0, None)
    assert (await row(ledger, lost)).state == "running"
    (again,) = await ledger.claim(subject=ours.subject)
    assert again.lease_token > ours.lease_token


async def test_a_finished_task_is_done_once(ledger, database):
    claimed = await task(ledger)
    async with database.transaction(ledger.organization) as tx:
        assert await claims.finish(tx, claimed)
    async with database.transaction(ledger.organization) as tx:
        assert not await claims.finish(tx, claimed)
        assert not await claims.bury(tx, claimed, reason="too late")
        assert not await claims.postpone(tx, claimed, clock.machine(), reason="too late", counts=True)
    there = await row(ledger, claimed)
    assert (there.state, there.attempts, there.failures) == ("done", 0, [])
    assert there.ended_at is not None


@pytest.mark.parametrize("counts", [True, False])
async def test_a_postponed_task_is_ready_at_its_time_and_only_a_failure_counts(counts, ledger, database):
    claimed = await task(ledger)
    at = clock.machine() + timedelta(minutes=5)
    async with database.transaction(ledger.organization) as tx:
        assert await claims.postpone(tx, claimed, at, reason="x" * 1000, counts=counts)
    there = await row(ledger, claimed)
    assert (there.state, there.attempts) == ("ready", int(counts))
    assert abs(there.run_at - at) < timedelta(minutes=1)  # of the database's clock, by which it is due
    assert [(entry["kind"], entry["reason"]) for entry in there.failures] == [("failure", "x" * 500)] * counts


async def test_a_buried_task_is_dead_and_its_death_a_fact(ledger, database):
    claimed = await task(ledger)
    async with database.transaction(ledger.organization) as tx:
        assert await claims.bury(tx, claimed, reason="it never works")
    there = await row(ledger, claimed)
    assert (there.state, there.attempts, there.failures[0]["reason"]) == ("dead", 1, "it never works")
    (fact,) = await ledger.rows("select * from events where type = 'task.died'")
    assert fact.data == {"task": claimed.id, "actor": RENDER, "attempts": 1, "deaths": 0}
    assert (fact.subject, fact.causation_id) == (claimed.subject, claimed.event_id)
    assert await ledger.value("select count(*) from pending_events where type = 'task.died'") == 1


async def test_a_withdrawn_task_is_fenced_off(ledger, database):
    claimed, other = await task(ledger), await task(ledger)
    async with database.transaction(ledger.organization) as tx:
        assert await claims.withdraw(tx, [claimed.event_id], RENDER) == 1
        assert await claims.withdraw(tx, [claimed.event_id], RENDER) == 0
    async with database.transaction(ledger.organization) as tx:
        assert not await claims.finish(tx, claimed)
        assert await claims.finish(tx, other)
    assert (await row(ledger, claimed)).state == "cancelled"


async def test_a_task_of_another_organization_can_be_neither_finished_nor_buried(ledger, make_organization, database):
    claimed = await task(ledger)
    other = await make_organization()
    async with database.transaction(other.id) as tx:
        assert not await claims.finish(tx, claimed)
        assert not await claims.bury(tx, claimed, reason="not mine")
        assert await claims.withdraw(tx, [claimed.event_id], RENDER) == 0
    assert (await row(ledger, claimed)).state == "running"

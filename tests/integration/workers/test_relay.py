"""Events into tasks, tasks into messages: nothing missed, nothing doubled, nobody starved."""

import asyncio

import msgspec
import pytest
from sqlalchemy import text

from domain.events import feed, log
from domain.generations import lifecycle
from domain.generations.events import GenerationAccepted, GenerationCancelled
from runtime.wakeups import Nudge
from tests.integration.conftest import OrganizationFactory
from tests.integration.workers.conftest import Spine
from tests.integration.workers.relays import Recording, running, until
from workers import measuring, relay

RENDER = lifecycle.RENDER
SUBJECT = "gen_01jd3v6t2cf5a9x0kqzr8m4n7p"


async def test_the_first_to_append_and_last_to_commit_is_not_missed_by_a_reader_that_pages_in_between(
    spine: Spine,
) -> None:
    organization = spine.organization.id
    seen: list[str] = []

    async def page(after: int) -> int:
        async with spine.database.read_only(organization) as tx:
            events = await feed.after(tx, after, limit=10, subject=SUBJECT)
        seen.extend(event.id for event in events)
        return events[-1].position if events else after

    event = GenerationCancelled(subject=SUBJECT, by="caller")
    async with spine.database.transaction(organization) as early:
        first = await log.append(early, organization, event)
        async with spine.database.transaction(organization) as late:
            second = await log.append(late, organization, event)
        await spine.step()
        position = await page(0)
    await spine.step()
    await page(position)
    assert seen == second + first


async def test_an_unknown_event_type_waits_for_a_release_that_knows_it(spine: Spine) -> None:
    organization = spine.organization.id
    async with spine.system.system_transaction() as tx:
        await tx.execute(
            text("""insert into events (organization_id, id, type, version, subject, correlation_id, data)
                values (:organization, 'evt_future', 'image.upscaled', 1, :subject, :subject, '{}')"""),
            {"organization": organization, "subject": SUBJECT},
        )
        await tx.execute(
            text("insert into pending_events values ('evt_future', :organization, 'image.upscaled')"),
            {"organization": organization},
        )
    await spine.accept()
    await spine.drain()
    assert await spine.value("select event_id from pending_events") == "evt_future"
    assert await spine.value("select count(*) from feed where event_id = 'evt_future'") == 0
    types, *rest = relay.arguments(spine.settings)
    await spine.connection.fetchrow(relay.STEP, [*types, "image.upscaled"], *rest)
    assert await spine.value("select count(*) from pending_events") == 0
    assert await spine.value("select count(*) from feed where event_id = 'evt_future'") == 1


async def test_a_task_of_an_unknown_actor_is_not_dispatched_nor_claimed(spine: Spine) -> None:
    await spine.accept()
    await spine.step()
    async with spine.system.system_transaction() as tx:
        await tx.execute(text("update tasks set actor = 'generations.upscale', state = 'ready'"))
    assert (await spine.step()).messages == []
    await spine.executor.run([await spine.value("select id from tasks where actor = 'generations.upscale'")])
    assert await spine.value("select state from tasks where actor = 'generations.upscale'") == "ready"


async def test_an_event_that_cannot_be_expanded_is_set_aside_and_the_log_goes_on(spine: Spine) -> None:
    organization = spine.organization.id
    await spine.drain()
    broken = GenerationAccepted(subject=SUBJECT, engine="template", template="badge", price=1, run_at="not a time")
    async with spine.database.transaction(organization) as tx:
        (broken_id,) = await log.append(tx, organization, broken)
    good = await spine.accept()
    step = await spine.step()
    assert (step.expanded, step.set_aside) == (2, 1)
    assert await spine.value("select event_id from set_aside_events") == broken_id
    assert await spine.value("select count(*) from tasks where subject = :id", id=good) == 1
    assert await spine.value("select count(*) from feed where type = 'generation.accepted'") == 2


async def test_messages_that_were_lost_are_sent_again(spine: Spine) -> None:
    generation = await spine.accept()
    lost = await spine.dispatch(RENDER)
    assert (await spine.step()).messages == [], "nothing is sent twice while it may still arrive"
    async with spine.system.system_transaction() as tx:
        await tx.execute(text("update tasks set dispatched_at = now() - interval '1 minute'"))
    assert await spine.dispatch(RENDER) == lost
    await spine.executor.run(lost)
    await spine.drain()
    assert await spine.status(generation) == "succeeded"


async def test_lost_messages_are_found_though_steps_follow_each_other_fast(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "RECOVERY_SECONDS", 0.5)
    broker, nudge = Recording(), Nudge(spine.settings)

    async def sent_again() -> bool:
        nudge.send()
        return len(broker.sent) > len(set(broker.sent))

    async with running(spine, broker):
        await spine.accept()
        await until(lambda: _true(bool(broker.sent)))
        await spine.rows("update tasks set dispatched_at = now() - interval '1 minute' returning id")
        await until(sent_again)
    await nudge.close()


async def test_what_workers_have_left_is_not_looked_for_in_each_step(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = relay.Relay(spine.settings, Recording())
    assert [made._next_arguments().unclaimed is None for _ in range(3)] == [False, True, True]
    monkeypatch.setattr(relay, "RECOVERY_SECONDS", 0.0)
    assert made._next_arguments().unclaimed is not None


async def test_a_step_that_is_told_nothing_of_recovery_leaves_lost_messages_to_the_next_that_is(spine: Spine) -> None:
    await spine.accept()
    lost = await spine.dispatch(RENDER)
    await spine.rows("update tasks set dispatched_at = now() - interval '1 minute' returning id")
    without = relay.arguments(spine.settings)._replace(unclaimed=None)
    step = relay.read_step(await spine.connection.fetchrow(relay.STEP, *without))
    assert (step.recovered, step.died, step.messages) == (0, 0, [])
    assert await spine.dispatch(RENDER) == lost


async def test_while_the_broker_is_away_work_is_ready_and_goes_out_as_soon_as_it_is_back(spine: Spine) -> None:
    spine.settings = msgspec.structs.replace(spine.settings, dispatched_timeout=3600)
    broker = Recording()
    broker.away = True
    async with running(spine, broker):
        await spine.accept()
        await until(lambda: _true(broker.refused > 1))
        await until(lambda: _exists(spine, "select from tasks where state = 'ready'"))
        assert broker.sent == []
        broker.away = False
        await until(lambda: _true(bool(broker.sent)))
    await spine.executor.run(broker.sent)
    assert await _exists(spine, "select from generations where status = 'succeeded'")


async def test_of_two_relays_one_leads_and_the_other_takes_over(spine: Spine) -> None:
    await spine.connection.close()
    brokers = Recording(), Recording()
    async with running(spine, brokers[0]) as first, running(spine, brokers[1]) as second:
        await until(lambda: _true(first.leading != second.leading))
        ids = [await spine.accept() for _ in range(4)]
        await until(lambda: _true(len(brokers[0].sent + brokers[1].sent) == len(ids)))
        was_first = first.leading
        await spine.rows(
            "select pg_terminate_backend(l.pid) from pg_locks l where locktype = 'advisory' and granted "
            "and l.database = (select oid from pg_database where datname = current_database())"
        )
        await until(lambda: _true(second.leading if was_first else first.leading))
        more = [await spine.accept() for _ in range(4)]
        await until(lambda: _true(len(set(brokers[0].sent + brokers[1].sent)) == len(ids + more)))
    assert await spine.value("select count(*) from feed where type = 'generation.accepted'") == 8
    assert await spine.value("select count(*) from tasks where actor = :actor", actor=RENDER) == 8


async def test_a_nudge_wakes_the_relay_long_before_it_looks_by_itself(spine: Spine) -> None:
    spine.settings = msgspec.structs.replace(spine.settings, relay_sweep=30.0)
    broker = Recording()
    nudge = Nudge(spine.settings)
    async with running(spine, broker) as made:
        await until(lambda: _true(made.leading))
        await asyncio.sleep(0.3)
        await spine.accept()
        nudge.send()
        await until(lambda: _true(bool(broker.sent)), seconds=20)
    await nudge.close()


async def test_without_redis_the_nudge_goes_through_the_database(spine: Spine) -> None:
    unreachable = msgspec.structs.replace(spine.settings, redis_url="redis://127.0.0.1:1", relay_sweep=30.0)
    spine.settings = unreachable
    broker = Recording()
    nudge = Nudge(unreachable)
    async with running(spine, broker) as made:
        await until(lambda: _true(made.leading))
        await asyncio.sleep(0.3)
        await spine.accept()
        nudge.send()
        await until(lambda: _true(bool(broker.sent)), seconds=20)
    await nudge.close()


async def test_each_organization_gets_the_same_share_of_a_small_window(
    spine: Spine, make_organization: OrganizationFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = await make_organization(name="Small")
    for _ in range(30):
        await spine.accept()
    light = [await spine.accept(small) for _ in range(4)]
    images = msgspec.json.encode([{"queue": "images", "size": 8, "capped": True}]).decode()
    row = await spine.connection.fetchrow(relay.STEP, *relay.arguments(spine.settings)._replace(queues=images))
    sent = [task for sending in relay.read_step(row).messages for task in sending.tasks]
    subjects = {row[0] for row in await spine.rows("select subject from tasks where id = any(:ids)", ids=sent)}
    assert len(sent) == 8
    assert set(light) <= subjects


async def test_what_waits_is_measured_by_state_and_what_is_not_due_is_not_called_ready(
    spine: Spine, make_organization: OrganizationFactory
) -> None:
    other = await make_organization()
    for organization in (spine.organization, other, other, other):
        await spine.accept(organization)
    await spine.step()
    change = """update tasks set state = 'ready', run_at = now() + id % 2 * interval '1 h'
                where id in (select id from tasks where actor = 'generations.render' order by id limit 3)"""
    async with spine.system.system_transaction() as tx:
        await tx.execute(text(change))
    await measuring.sample(spine.connection)
    images = {
        sample.labels["state"]: sample.value
        for sample in measuring._TASKS.collect()[0].samples
        if sample.labels["queue"] == "images"
    }
    assert images["ready"] + images["scheduled"] == 3
    assert images["scheduled"] in (1, 2)
    assert (images["dispatched"], images["running"]) == (1, 0)
    measuring.forget()


async def test_dead_letters_are_measured_by_actor_and_by_the_age_of_the_oldest(spine: Spine) -> None:
    await spine.accept()
    await spine.accept()
    await spine.step()
    async with spine.system.system_transaction() as tx:
        await tx.execute(text("update tasks set state = 'dead', ended_at = now() - id * interval '1 minute'"))
    await measuring.sample(spine.connection)
    dead = {sample.labels["actor"]: sample.value for sample in measuring._DEAD.collect()[0].samples}
    assert (dead["generations.render"], dead["webhooks.deliver"]) == (2, 0)
    oldest = measuring._OLDEST_DEAD.collect()[0].samples[0].value
    assert oldest >= 120
    measuring.forget()
    assert measuring._DEAD.collect()[0].samples == []
    assert measuring._OLDEST_DEAD.collect()[0].samples[0].value == 0


async def _exists(spine: Spine, query: str) -> bool:
    return bool(await spine.value(f"select exists({query})"))


async def _true(value: bool) -> bool:
    return value

"""Claim, prepare, work, record: what is done once, what is done again, and what is not done at all."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from domain.events import base
from domain.generations import lifecycle
from domain.generations.events import GenerationSucceeded
from domain.tasks import claims
from domain.tasks.outcomes import Done
from runtime import database, failpoints
from tests.integration.conftest import OrganizationFactory
from tests.integration.workers.conftest import Spine
from tests.integration.workers.relays import until
from workers import batches, execution
from workers.actor import ACTORS
from workers.batches import Batches
from workers.execution import Executor
from workers.holdings import Heartbeat

RENDER = lifecycle.RENDER


async def test_one_generation_is_rendered_stored_charged_and_its_customer_mailed(spine: Spine) -> None:
    before = await spine.available()
    generation = await spine.accept()
    await spine.drain()
    assert await spine.status(generation) == "succeeded"
    assert await spine.entries(generation) == ["hold", "settle"]
    assert await spine.available() == before - 1
    key, sha256 = (await spine.rows("select storage_key, sha256 from assets where generation_id = :id", id=generation))[
        0
    ]
    assert key == f"o/{spine.organization.id}/{sha256}.png"
    assert (await spine.tools.store.stat(key)).sha256 == sha256
    assert [mail.recipient for mail in spine.mail.sent] == ["someone@customer.example"]


async def test_a_doubled_message_does_nothing(spine: Spine) -> None:
    generation = await spine.accept()
    ids = await spine.dispatch(RENDER)
    other = spine.new_executor()
    await asyncio.gather(spine.executor.run(ids), spine.executor.run(ids), other.run(ids))
    await spine.executor.run(ids)
    assert await spine.entries(generation) == ["hold", "settle"]
    assert await spine.value("select count(*) from assets") == 1
    assert await spine.value("select count(*) from events where type = 'generation.succeeded'") == 1


async def test_a_message_that_goes_ahead_has_its_images_drawn_before_those_that_wait(spine: Spine) -> None:
    generations = [await spine.accept(input={"label": str(number)}) for number in range(6)]
    ids = await spine.dispatch(RENDER)
    await asyncio.gather(spine.executor.run(ids[:-1]), spine.executor.run(ids[-1:], ahead=True))
    ended = "select subject from tasks where actor = :actor order by ended_at, id"
    order = [row[0] for row in await spine.rows(ended, actor=RENDER)]
    assert sorted(order) == sorted(generations)
    assert order.index(generations[-1]) <= 2, "those that a child had begun already come first"


async def test_a_message_that_goes_ahead_waits_for_nobodys_company(spine: Spine, monkeypatch) -> None:
    monkeypatch.setattr(batches, "PAUSE", 3600)
    monkeypatch.setattr(execution, "CROWD", 3)
    executor = spine.new_executor()
    generations = [await spine.accept(input={"label": str(number)}) for number in range(4)]
    ids = await spine.dispatch(RENDER)
    crowd = asyncio.create_task(executor.run(ids[:-1]))

    async def crowded() -> bool:
        return len(executor.holdings) == len(ids) - 1

    await until(crowded)
    await executor.run(ids[-1:], ahead=True)
    assert [await spine.status(generation) for generation in generations].count("succeeded") == 1
    await executor.give_back()
    await crowd


async def test_a_message_for_tasks_that_are_gone_does_nothing(spine: Spine) -> None:
    await spine.executor.run([4_711, 4_712])
    assert await spine.value("select count(*) from tasks") == 0


async def test_an_equal_request_is_not_drawn_again(spine: Spine) -> None:
    first, second = await spine.accept(), None
    await spine.drain()
    second = await spine.accept()
    await spine.drain()
    rows = await spine.rows("select id, reused, charged from generations order by id")
    assert [(row.id, row.reused, row.charged) for row in rows] == [(first, False, 1), (second, True, 0)]
    assert await spine.value("select count(distinct storage_key) from assets") == 1
    assert await spine.entries(second) == ["hold", "release"], "the free plan does not charge for it"


@pytest.fixture(params=["batched", "one by one"])
def records(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs with records as they are, and with the batches left out."""
    if request.param == "one by one":

        async def never(*_: object) -> bool:
            return False

        monkeypatch.setattr(Batches, "record", never)
    return str(request.param)


async def test_a_worker_whose_lease_ran_out_cannot_record(
    spine: Spine, monkeypatch: pytest.MonkeyPatch, records: str
) -> None:
    generation = await spine.accept()
    ids = await spine.dispatch(RENDER)
    record = Executor._record

    async def late(self: Executor, *arguments: Any) -> None:
        await spine.expire_leases()
        await spine.step()
        await record(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Executor, "_record", late)
        await spine.executor.run(ids)
    assert await spine.status(generation) == "running"
    assert await spine.entries(generation) == ["hold"]
    await spine.executor.run(ids)
    assert await spine.entries(generation) == ["hold", "settle"]


async def test_a_batch_and_a_single_record_say_the_same(spine: Spine, records: str) -> None:
    generation = await spine.accept()
    await spine.drain()
    event = (await spine.rows("select subject, version, data, causation_id from events where type like '%.succeeded'"))[
        0
    ]
    asset = (await spine.rows("select id, generation_id, format, width, height from assets"))[0]
    assert (event.subject, event.version) == (generation, GenerationSucceeded.version)
    assert base.read("generation.succeeded", generation, event.data) == GenerationSucceeded(
        subject=generation, asset=asset.id, credits=1, reused=False
    )
    assert tuple(asset)[1:] == (generation, "png", 256, 256)
    row = (await spine.rows("select status, charged, reused, ended_at is not null from generations"))[0]
    assert tuple(row) == ("succeeded", 1, False, True)


async def test_a_batch_that_the_database_refuses_is_done_one_by_one(spine: Spine) -> None:
    generations = [await spine.accept(input={"label": str(number)}) for number in range(3)]
    owner = await database.connect(spine.settings.database_owner_url, name="test-owner")
    await owner.execute("alter function record_images(jsonb) rename to record_images_away")
    await owner.close()
    await spine.drain()
    assert [await spine.status(generation) for generation in generations] == ["succeeded"] * 3


async def test_a_batch_of_many_organizations_keeps_them_apart(
    spine: Spine, make_organization: OrganizationFactory
) -> None:
    owners = [await make_organization(name=f"Org {number}") for number in range(6)]
    made = {await spine.accept(owner, input={"label": owner.id[-8:]}): owner.id for owner in owners for _ in range(2)}
    await spine.drain()
    rows = await spine.rows(
        "select g.id, a.organization_id, c.organization_id, e.organization_id, a.storage_key from generations g "
        "join assets a on a.generation_id = g.id join credit_entries c on c.generation_id = g.id "
        "and c.kind in ('settle', 'release') join events e on e.subject = g.id and e.type = 'generation.succeeded'"
    )
    assert len(rows) == len(made)
    for generation, *organizations, key in rows:
        assert set(organizations) == {made[generation]}
        assert key.startswith(f"o/{made[generation]}/")


async def test_a_poison_task_ends_dead_after_three_deaths_and_its_customer_is_told(spine: Spine) -> None:
    before = await spine.available()
    generation = await spine.accept()
    ids = await spine.dispatch(RENDER)
    for _ in range(3):
        await claims.claim(spine.system, ids, actors=[RENDER], owner="doomed", lease=timedelta(seconds=30))
        await spine.expire_leases()
        ids = await spine.dispatch(RENDER)
    state, deaths, attempts = (
        await spine.rows("select state, deaths, attempts from tasks where actor = :actor", actor=RENDER)
    )[0]
    assert (state, deaths, attempts) == ("dead", 3, 0)
    await spine.drain()
    assert await spine.status(generation) == "failed"
    assert await spine.entries(generation) == ["hold", "release"]
    assert await spine.available() == before
    assert [mail.subject for mail in spine.mail.sent if "could not be made" in mail.subject]


async def test_who_dies_three_times_among_many_lives_on(spine: Spine) -> None:
    for _ in range(9):
        await spine.accept()
    await spine.step()
    held = "update tasks set state = 'running', owner = 'doomed', deaths = :before where actor = :actor returning id"
    for deaths, state in ((3, "ready"), (9, "ready"), (10, "dead")):
        ids = [row[0] for row in await spine.rows(held, before=deaths - 1, actor=RENDER)]
        await spine.rows("select note_deaths(:ids)", ids=ids)
        rows = await spine.rows("select deaths, state from tasks where id = any(:ids)", ids=ids)
        assert [tuple(row) for row in rows] == [(deaths, state)] * 9


@pytest.mark.parametrize(
    ("before", "together", "most"), [(0, 9, 0), (1, 9, 3), (1, 1, 0), (2, 9, 6), (5, 9, 24), (8, 9, 24), (9, 9, 0)]
)
async def test_who_has_died_before_and_in_company_rests_before_the_next_try(
    spine: Spine, before: int, together: int, most: float
) -> None:
    for _ in range(together):
        await spine.accept()
    await spine.step()
    held = "update tasks set state = 'running', owner = 'doomed', deaths = :before where actor = :actor returning id"
    ids = [row[0] for row in await spine.rows(held, before=before, actor=RENDER)]
    rest = "extract(epoch from run_at - (failures -> -1 ->> 'at')::timestamptz)"
    await spine.rows("select note_deaths(:ids)", ids=ids)
    noted = "failures -> -1 ->> 'rest'"
    found = await spine.rows(f"select {rest}, {noted} from tasks where id = any(:ids)", ids=ids)
    rests = [float(seconds) for seconds, _ in found]
    assert rests == [pytest.approx(float(note), abs=0.001) for _, note in found]
    assert min(rests) >= 0
    assert most / 4 * (together > 1) <= max(rests) <= most, "of nine hardly one in a quarter million draws none so long"
    assert len(set(rests)) == (together if most else 1), "each by chance, so that they part"


async def test_deaths_among_many_do_not_count_towards_the_three_of_one_that_dies_among_few(spine: Spine) -> None:
    for _ in range(9):
        await spine.accept()
    await spine.step()
    everyone = [
        row[0] for row in await spine.rows("select id from tasks where actor = :actor order by id", actor=RENDER)
    ]
    one, few, many = everyone[0], everyone[:1], everyone
    states = [await _dies(spine, one, among) for among in (many, many, few, many, few, few)]
    assert states == ["ready"] * 5 + ["dead"]
    await spine.rows("update tasks set state = 'ready', deaths = 0 returning 1")
    assert [await _dies(spine, one, few) for _ in range(3)] == ["ready", "ready", "dead"], "a replay begins anew"


async def _dies(spine: Spine, task_id: int, among: list[int]) -> str:
    await spine.rows("update tasks set state = 'running', owner = 'doomed' where id = any(:ids) returning 1", ids=among)
    await spine.rows("select note_deaths(:ids)", ids=among)
    return str(await spine.value("select state from tasks where id = :id", id=task_id))


async def test_a_try_that_fails_is_repeated_later_and_counted(spine: Spine, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = await spine.accept()
    ids = await spine.dispatch(RENDER)
    failpoints.configure("worker.before_record=raise")
    try:
        await spine.executor.run(ids)
    finally:
        failpoints.configure("")
    row = (
        await spine.rows(
            "select state, attempts, run_at > now() as later, failures from tasks where id = :id", id=ids[0]
        )
    )[0]
    assert (row.state, row.attempts, row.later) == ("ready", 1, True)
    assert "FailpointError" in row.failures[0]["reason"]
    await _make_due(spine)
    await spine.drain()
    assert await spine.status(generation) == "succeeded"


async def test_a_task_that_used_up_its_attempts_is_dead_and_its_generation_failed(spine: Spine) -> None:
    generation = await spine.accept()
    failpoints.configure("worker.before_record=always-raise")
    try:
        for _ in range(ACTORS[RENDER].policy.max_attempts):
            await _make_due(spine)
            await spine.executor.run(await spine.dispatch(RENDER))
    finally:
        failpoints.configure("")
    assert await spine.value("select state from tasks where actor = :actor", actor=RENDER) == "dead"
    await spine.drain()
    assert await spine.status(generation) == "failed"
    assert await spine.entries(generation) == ["hold", "release"]


async def test_a_stop_gives_running_tasks_back_with_no_count_raised(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = await spine.accept()
    ids = await spine.dispatch(RENDER)
    begun = asyncio.Event()

    async def endless(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.sleep(60)

    monkeypatch.setattr("domain.generations.engines._image", endless)
    message = asyncio.create_task(spine.executor.run(ids))
    await begun.wait()
    await spine.executor.give_back()
    await message
    row = (
        await spine.rows("select state, attempts, deaths, run_at <= now() as due from tasks where id = :id", id=ids[0])
    )[0]
    assert tuple(row) == ("ready", 0, 0, True)
    monkeypatch.undo()
    spine.executors[0] = spine.new_executor()
    await spine.drain()
    assert await spine.status(generation) == "succeeded"


async def test_a_task_that_is_claimed_while_the_others_are_given_back_goes_with_them(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spine.accept()
    ids = await spine.dispatch(RENDER)
    claim = claims.claim

    async def slow(*arguments: object, **options: object) -> object:
        claimed = await claim(*arguments, **options)  # type: ignore[arg-type]
        await spine.executor.give_back()
        return claimed

    monkeypatch.setattr(claims, "claim", slow)
    await spine.executor.run(ids)
    row = (await spine.rows("select state, attempts, deaths from tasks where id = :id", id=ids[0]))[0]
    assert tuple(row) == ("ready", 0, 0)


async def test_tasks_are_given_back_though_the_connection_breaks_meanwhile(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spine.accept()
    ids = await spine.dispatch(RENDER)
    begun, give_back = asyncio.Event(), claims.give_back
    faults: list[Exception] = [ConnectionResetError(), asyncpg.ConnectionDoesNotExistError("gone")]

    async def endless(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.sleep(60)

    async def broken_at_first(*arguments: Any) -> int:
        if faults:
            raise faults.pop()
        return await give_back(*arguments)

    monkeypatch.setattr("domain.generations.engines._image", endless)
    monkeypatch.setattr(claims, "give_back", broken_at_first)
    message = asyncio.create_task(spine.executor.run(ids))
    await begun.wait()
    await spine.executor.give_back()
    await message
    [row] = await spine.rows("select state, attempts, deaths from tasks where id = :id", id=ids[0])
    assert tuple(row) == ("ready", 0, 0)


async def test_a_claim_that_waited_for_the_database_until_the_process_stops_claims_nothing(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spine.accept()
    ids = await spine.dispatch(RENDER)
    tried: list[object] = []

    async def away(*_: object, **__: object) -> None:
        tried.append(None)
        await spine.executor.give_back()
        raise ConnectionResetError

    monkeypatch.setattr(claims, "claim", away)
    await spine.executor.run(ids)
    assert len(tried) == 1
    assert await spine.value("select state from tasks where id = :id", id=ids[0]) == "dispatched"


async def test_an_executor_that_stops_takes_nothing_more(spine: Spine) -> None:
    await spine.accept()
    ids = await spine.dispatch(RENDER)
    await spine.executor.give_back()
    await spine.executor.run(ids)
    assert await spine.value("select state from tasks where id = :id", id=ids[0]) == "dispatched"


async def test_a_heartbeat_keeps_a_lease_and_stops_work_whose_lease_was_revoked(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = timedelta(seconds=10)
    executor = spine.new_executor(lease)
    heartbeat = Heartbeat(spine.settings.database_system_url, executor.holdings, lease)
    heartbeat.start()
    await spine.accept()
    ids = await spine.dispatch(RENDER)
    ended: list[str] = []

    async def endless(*_: object, **__: object) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    monkeypatch.setattr("domain.generations.engines._image", endless)
    message = asyncio.create_task(executor.run(ids))
    running = "select lease_until from tasks where state = 'running'"
    await until(lambda: _is(spine, f"select exists({running})"))
    first = await spine.value(running)
    await until(lambda: _is(spine, f"select exists({running} and lease_until > :first)", first=first))
    async with spine.system.system_transaction() as tx:
        await tx.execute(text("update tasks set lease_token = null, state = 'cancelled' where state = 'running'"))
    async with asyncio.timeout(30):
        await message
    await asyncio.to_thread(heartbeat.stop)
    assert ended == ["cancelled"]


async def test_a_generation_for_later_waits_for_its_time(spine: Spine) -> None:
    later = (await spine.value("select now() + interval '1 hour'")).isoformat()
    generation = await spine.accept(run_at=later)
    await spine.drain()
    assert await spine.status(generation) == "scheduled"
    await _make_due(spine)
    await spine.drain()
    assert await spine.status(generation) == "succeeded"


async def test_work_that_does_not_know_its_end_is_ended_by_the_queue(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spine.accept()
    ids = await spine.dispatch(RENDER)

    async def endless(*_: object, **__: object) -> Done:
        await asyncio.sleep(60)
        return Done()

    monkeypatch.setattr("domain.generations.engines._image", endless)
    monkeypatch.setattr("workers.execution._limit", lambda _: 0.05)
    await spine.executor.run(ids)
    row = (await spine.rows("select state, failures from tasks where id = :id", id=ids[0]))[0]
    assert row.state == "ready"
    assert "not done within" in row.failures[0]["reason"]


async def _is(spine: Spine, query: str, **values: object) -> bool:
    return bool(await spine.value(query, **values))


async def _make_due(spine: Spine) -> None:
    async with spine.system.system_transaction() as tx:
        await tx.execute(text("update tasks set run_at = now() where state = 'ready'"))


async def test_a_locked_task_costs_no_other_task_its_lease(spine: Spine) -> None:
    for label in ("1", "2"):
        await spine.accept(input={"label": label})
    ids = await spine.dispatch(RENDER)
    lease = timedelta(seconds=2)
    tasks = await claims.claim(spine.system, ids, actors=[RENDER], owner="test", lease=lease)
    held = {task.id: task.lease_token for task in tasks}
    async with spine.system.system_transaction() as stranger:
        await stranger.execute(text("select from tasks where id = :id for update"), {"id": ids[0]})
        async with asyncio.timeout(1):
            kept = await claims.renew(spine.connection, held, timedelta(seconds=60))
    assert kept == set(ids), "the locked one is not renewed, and is not taken for lost either"
    query = "select id from tasks where state = 'running' and lease_until > now() + interval '30 s'"
    assert [row.id for row in await spine.rows(query)] == [ids[1]]

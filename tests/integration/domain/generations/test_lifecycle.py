"""From accepted to the one end, with the hold settled or released exactly once."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from domain.generations import lifecycle, reading
from domain.generations.errors import GenerationNotFound, GenerationNotReplayable, GenerationOver
from domain.subscriptions.errors import InsufficientCredits
from domain.tasks import claims
from domain.tasks.outcomes import Done, Fail, Outcome, Retry, Snooze, Task
from runtime import clock
from storage.addresses import ObjectUrls
from tests.integration.domain.ledger import Ledger, image

URLS = ObjectUrls(base="http://here/assets", secrets=("a-secret-of-tests-that-is-long-enough",), ttl=timedelta(1))


async def start(ledger: Ledger, task: Task) -> lifecycle.Plan | None:
    async with ledger.database.transaction(ledger.organization) as tx:
        return await lifecycle.start(tx, task)


async def finish(ledger: Ledger, task: Task, outcome: Outcome) -> bool:
    """As a worker records; false when it was fenced off."""
    plan = lifecycle.Plan(
        organization_id=task.organization_id,
        generation_id=task.subject,
        template="badge",
        input={},
        output={},
        uploads={},
    )
    async with ledger.database.transaction(ledger.organization) as tx:
        ours = await claims.finish(tx, task)
        if ours:
            await lifecycle.finish(tx, task, plan, outcome)
    return ours


async def cancel(ledger: Ledger, generation_id: str) -> None:
    async with ledger.database.transaction(ledger.organization) as tx:
        await lifecycle.cancel(tx, ledger.organization, generation_id, by="caller", traceparent=None)


async def retry(ledger: Ledger, generation_id: str) -> None:
    async with ledger.database.transaction(ledger.organization) as tx:
        await lifecycle.retry(tx, ledger.organization, generation_id)


async def view(ledger: Ledger, generation_id: str):
    async with ledger.database.read_only(ledger.organization) as tx:
        return await reading.one(tx, generation_id, URLS)


async def test_a_started_generation_runs_and_its_plan_says_what_to_draw(ledger):
    generation_id = await ledger.generation(output={"format": "webp", "scale": 2})
    (task,) = await ledger.claim()
    plan = await start(ledger, task)
    assert plan is not None
    assert (plan.generation_id, plan.template, plan.input) == (generation_id, "badge", {"label": "A1"})
    assert (plan.output.format, plan.output.scale, plan.uploads) == ("webp", 2, {})
    running = await view(ledger, generation_id)
    assert running.status == "running"
    again = await start(ledger, task)
    assert again == plan
    assert (await view(ledger, generation_id)).started_at == running.started_at


async def test_success_settles_and_gives_the_image(ledger):
    task = await ledger.running()
    assert await finish(ledger, task, Done(image()))
    shown = await view(ledger, task.subject)
    assert (shown.status, shown.credits, shown.reused, shown.error) == ("succeeded", 1, False, None)
    assert [(asset.format, asset.width, asset.bytes) for asset in shown.assets] == [("png", 256, 1000)]
    assert shown.assets[0].url.startswith(f"http://here/assets/o/org/{'2' * 64}.png?")
    assert await ledger.moves(task.subject) == [("hold", 1), ("settle", 1)]
    assert await ledger.facts(task.subject) == ["generation.accepted", "generation.succeeded"]
    balance = await ledger.balance()
    assert (balance.available, balance.held, balance.spent, balance.granted) == (99, 0, 1, 100)
    fact = (await ledger.rows("select * from events where type = 'generation.succeeded'"))[0]
    assert (fact.correlation_id, fact.causation_id) == (task.subject, task.event_id)
    assert fact.data == {"asset": shown.assets[0].id, "credits": 1, "reused": False}


@pytest.mark.parametrize(("plan", "charged"), [("free", 0), ("pro", 1)])
async def test_an_image_handed_out_again_costs_what_the_plan_says(plan, charged, make_organization, database, system):
    organization = await make_organization(plan=plan)
    ledger = Ledger(database, system, organization.id)
    task = await ledger.running()
    await finish(ledger, task, Done(image(reused=True)))
    shown = await view(ledger, task.subject)
    assert (shown.reused, shown.credits) == (True, charged)
    assert await ledger.moves(task.subject) == [("hold", 1), ("settle" if charged else "release", 1)]
    assert await ledger.available() == 100 - charged


async def test_a_failure_for_good_releases_and_says_why(ledger):
    task = await ledger.running()
    await finish(ledger, task, Fail("picture_not_found", "there is no such picture"))
    shown = await view(ledger, task.subject)
    assert (shown.status, shown.credits, shown.assets) == ("failed", 0, [])
    assert shown.error is not None
    assert (shown.error.code, shown.error.detail) == ("picture_not_found", "there is no such picture")
    assert await ledger.moves(task.subject) == [("hold", 1), ("release", 1)]
    assert await ledger.facts(task.subject) == ["generation.accepted", "generation.failed"]


@pytest.mark.parametrize("outcome", [Retry("once more"), Snooze(clock.machine(), "later")])
async def test_a_try_that_failed_for_now_leaves_it_running(outcome, ledger):
    task = await ledger.running()
    await finish(ledger, task, outcome)
    assert await ledger.status(task.subject) == "running"
    assert await ledger.moves(task.subject) == [("hold", 1)]


async def test_the_death_of_its_task_fails_it_and_nothing_is_charged(ledger):
    task = await ledger.running()
    await ledger.die(task)
    shown = await view(ledger, task.subject)
    assert (shown.status, shown.credits) == ("failed", 0)
    assert shown.error is not None
    assert shown.error.code == "rendering_failed"
    assert await ledger.available() == 100


async def test_a_cancelled_generation_is_released_and_its_task_withdrawn(ledger):
    task = await ledger.running()
    await cancel(ledger, task.subject)
    await cancel(ledger, task.subject)
    assert await ledger.status(task.subject) == "cancelled"
    assert await ledger.moves(task.subject) == [("hold", 1), ("release", 1)]
    assert await ledger.facts(task.subject) == ["generation.accepted", "generation.cancelled"]
    (withdrawal,) = await ledger.claim("generations.withdraw")
    async with ledger.database.transaction(ledger.organization) as tx:
        await lifecycle.withdraw(tx, withdrawal)
    assert await ledger.value("select state from tasks where id = :id", id=task.id) == "cancelled"
    assert not await finish(ledger, task, Done(image()))
    assert await ledger.moves(task.subject) == [("hold", 1), ("release", 1)]


async def test_one_cancelled_before_its_task_was_there_is_not_started(ledger):
    generation_id = await ledger.generation()
    await cancel(ledger, generation_id)
    (task,) = await ledger.claim()
    assert await start(ledger, task) is None


async def test_what_is_over_cannot_be_cancelled_and_what_is_not_there_neither(ledger):
    task = await ledger.running()
    await finish(ledger, task, Done(image()))
    with pytest.raises(GenerationOver):
        await cancel(ledger, task.subject)
    with pytest.raises(GenerationNotFound):
        await cancel(ledger, "gen_of_nobody")


async def test_a_generation_of_another_organization_can_neither_be_seen_nor_cancelled(ledger, make_organization):
    other = await make_organization()
    theirs = await ledger.generation(of=other.id)
    with pytest.raises(GenerationNotFound):
        await view(ledger, theirs)
    with pytest.raises(GenerationNotFound):
        await cancel(ledger, theirs)
    with pytest.raises(GenerationNotReplayable):
        await retry(ledger, theirs)


async def test_a_failed_one_gets_another_chance_under_a_new_hold(ledger):
    task = await ledger.running()
    await finish(ledger, task, Fail("picture_unreachable", "no answer"))
    await retry(ledger, task.subject)
    queued = await view(ledger, task.subject)
    assert (queued.status, queued.error, queued.credits, queued.ended_at) == ("queued", None, None, None)
    assert await ledger.facts(task.subject) == ["generation.accepted", "generation.failed", "generation.retried"]
    second = await ledger.started(task.subject)
    assert second.id != task.id
    await finish(ledger, second, Done(image()))
    assert await ledger.moves(task.subject) == [("hold", 1), ("release", 1), ("hold", 1), ("settle", 1)]
    assert await ledger.available() == 99


async def test_another_chance_costs_credits_that_must_be_there(make_organization, database, system):
    ledger = Ledger(database, system, (await make_organization(grant=1)).id)
    task = await ledger.running()
    await finish(ledger, task, Fail("x", "y"))
    await ledger.generation()
    with pytest.raises(InsufficientCredits):
        await retry(ledger, task.subject)
    assert await ledger.status(task.subject) == "failed"


@pytest.mark.parametrize("status", ["queued", "running", "succeeded", "cancelled"])
async def test_only_what_failed_gets_another_chance(status, ledger):
    if status == "queued":
        generation_id = await ledger.generation()
    else:
        task = await ledger.running()
        generation_id = task.subject
        if status == "succeeded":
            await finish(ledger, task, Done(image()))
        if status == "cancelled":
            await cancel(ledger, generation_id)
    with pytest.raises(GenerationNotReplayable):
        await retry(ledger, generation_id)
    assert len(await ledger.moves(generation_id)) == (1 if status in {"queued", "running"} else 2)


async def test_of_two_chances_given_at_once_one_is_taken(ledger):
    task = await ledger.running()
    await finish(ledger, task, Fail("x", "y"))
    given = await asyncio.gather(*(retry(ledger, task.subject) for _ in range(4)), return_exceptions=True)
    assert sum(answer is None for answer in given) == 1
    assert sum(isinstance(answer, GenerationNotReplayable) for answer in given) == 3
    assert await ledger.available() == 99


async def test_a_retried_one_that_is_cancelled_loses_its_second_task_too(ledger):
    task = await ledger.running()
    await finish(ledger, task, Fail("x", "y"))
    await retry(ledger, task.subject)
    second = await ledger.started(task.subject)
    await cancel(ledger, task.subject)
    (withdrawal,) = await ledger.claim("generations.withdraw")
    async with ledger.database.transaction(ledger.organization) as tx:
        await lifecycle.withdraw(tx, withdrawal)
    states = dict(await ledger.rows("select id, state from tasks where actor = :actor", actor=lifecycle.RENDER))
    assert states == {task.id: "done", second.id: "cancelled"}


@pytest.mark.parametrize("first", ["success", "cancel"])
async def test_whichever_comes_first_of_cancel_and_success_decides_alone(first, ledger):
    """The second one waits for the first one's commit, and then finds the generation over."""
    task = await ledger.running()
    order = [asyncio.Event(), asyncio.Event()]

    async def succeed() -> None:
        plan = lifecycle.Plan(
            organization_id="", generation_id=task.subject, template="", input={}, output={}, uploads={}
        )
        async with ledger.database.transaction(ledger.organization) as tx:
            await claims.finish(tx, task)
            if first == "cancel":
                await order[0].wait()
            await lifecycle.finish(tx, task, plan, Done(image()))
            await hold_open("success")

    async def stop() -> None:
        async with ledger.database.transaction(ledger.organization) as tx:
            if first == "success":
                await order[0].wait()
            await lifecycle.cancel(tx, ledger.organization, task.subject, by="caller", traceparent=None)
            await hold_open("cancel")

    async def hold_open(name: str) -> None:
        """The first to write stays uncommitted until the other one waits for its row lock."""
        if name == first:
            order[0].set()
            while not await ledger.value("select count(*) from pg_locks where not granted"):
                await asyncio.sleep(0.01)

    both = await asyncio.gather(succeed(), stop(), return_exceptions=True)
    moves = await ledger.moves(task.subject)
    if first == "success":
        assert isinstance(both[1], GenerationOver)
        assert moves == [("hold", 1), ("settle", 1)]
        assert await ledger.status(task.subject) == "succeeded"
    else:
        assert both == [None, None]
        assert moves == [("hold", 1), ("release", 1)]
        assert await ledger.status(task.subject) == "cancelled"
        assert await ledger.value("select count(*) from assets") == 0
    balance = await ledger.balance()
    assert balance.held == 0
    assert balance.available == await ledger.available()


async def test_an_end_that_comes_twice_is_one_end(ledger):
    """As when the death of a task is told after its generation was cancelled."""
    task = await ledger.running()
    await cancel(ledger, task.subject)
    await ledger.die(task)
    assert await ledger.status(task.subject) == "cancelled"
    assert await ledger.moves(task.subject) == [("hold", 1), ("release", 1)]
    assert "generation.failed" not in await ledger.facts(task.subject)


async def test_every_end_leaves_one_settle_or_release(ledger):
    """Cancels and records of many generations, all at once."""
    tasks = [await ledger.running(input={"label": str(number)}) for number in range(10)]
    ends = [finish(ledger, task, Done(image())) for task in tasks] + [cancel(ledger, task.subject) for task in tasks]
    await asyncio.gather(*ends, return_exceptions=True)
    wrong = await ledger.rows(
        "select generation_id from credit_entries where kind in ('settle', 'release') group by 1 having count(*) <> 1"
    )
    assert wrong == []
    assert await ledger.value("select count(*) from credit_entries where kind in ('settle', 'release')") == 10
    balance = await ledger.balance()
    assert (balance.held, balance.available) == (0, await ledger.available())


async def test_no_statement_of_the_customers_words_is_in_the_log_of_events(ledger):
    task = await ledger.running(metadata={"note": "confidential"})
    await finish(ledger, task, Fail("x", "confidential too"))
    data = await ledger.rows("select data from events")
    assert "confidential" not in str(data)
    async with ledger.system.system_transaction() as tx:
        assert await tx.scalar(text("select count(*) from events")) >= 3

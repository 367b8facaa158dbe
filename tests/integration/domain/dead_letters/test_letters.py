"""Dead letters are found by what they have in common."""

from datetime import timedelta

import pytest

from domain.dead_letters import letters
from domain.dead_letters.letters import Filter
from domain.dead_letters.operations import HOME
from domain.events import log
from domain.pages import PageRequest
from domain.tasks.errors import DeadLetterNotFound
from domain.upkeep.events import SweepDue
from runtime import clock
from tests.integration.domain.dead_letters.conftest import dead_render


@pytest.fixture
def find(system):
    async def find(**only) -> list[int]:
        async with system.system_transaction() as tx:
            assert await letters.count(tx, Filter(**only)) == len(await letters.oldest(tx, Filter(**only)))
            return [letter.id for letter in await letters.oldest(tx, Filter(**only))]

    return find


async def test_each_filter_finds_what_fits_and_all_given_have_to(ledger, find):
    first = await dead_render(ledger, reason="The STORE is away")
    second = await dead_render(ledger, reason="a font is missing")
    died = '[{"at": "2026-11-20T11:00:00.000Z", "kind": "death", "reason": "a font is missing"}]'
    await ledger.rows(
        "update tasks set failures = cast(:died as jsonb), queue = 'images' where id = :id returning 1",
        id=second.id, died=died,
    )  # fmt: skip
    await ledger.rows("update tasks set deaths = 4 where id = :id returning 1", id=first.id)
    await ledger.rows("update tasks set ended_at = now() - interval '1 h' where id = :id returning 1", id=first.id)
    assert await find() == [first.id, second.id]
    assert await find(reason="store") == [first.id]
    assert await find(reason="kind") == [], "names of fields are not looked at"
    assert await find(cause="deaths") == [second.id]
    assert await find(cause="attempts") == [first.id]
    assert await find(queue="images") == [second.id]
    assert await find(actor="generations.render", organization_id=ledger.organization) == [first.id, second.id]
    assert await find(actor="webhooks.deliver") == []
    half_an_hour_ago = clock.machine() - timedelta(minutes=30)
    assert await find(died_before=half_an_hour_ago) == [first.id]
    assert await find(died_after=half_an_hour_ago) == [second.id]
    assert await find(died_after=half_an_hour_ago, reason="store") == []


async def test_pages_go_from_the_newest_to_the_oldest_and_miss_none(ledger, system):
    tasks = [await dead_render(ledger, reason=str(number)) for number in range(3)]
    async with system.system_transaction() as tx:
        first = await letters.page(tx, Filter(), PageRequest(limit=2))
        rest = await letters.page(tx, Filter(), PageRequest(limit=2, after=first.last))
    assert [letter.id for letter in first.items + rest.items] == [task.id for task in reversed(tasks)]
    assert rest.last is None
    newest = first.items[0]
    assert (newest.reason, newest.cause, newest.refusal) == ("2", "attempts", None)
    assert newest.trail == f"/trail/{tasks[2].subject}"
    assert (newest.event_type, newest.organization_name) == ("generation.accepted", "Acme")


async def test_one_of_the_installation_itself_is_found_too(ledger, system):
    async with ledger.database.transaction(HOME) as tx:
        (event,) = await log.append(tx, HOME, SweepDue(subject="sweep@now", tick="2026-11-20T09:05:00.000Z"))
    number = await ledger.value(
        "insert into tasks (organization_id, event_id, actor, subject, queue, state, ended_at) "
        "values (:home, :event, 'upkeep.sweep', 'sweep@now', 'upkeep', 'dead', now()) returning id",
        home=HOME, event=event,
    )  # fmt: skip
    async with system.system_transaction() as tx:
        letter = await letters.get(tx, number)
        assert (letter.organization_name, letter.trail, letter.reason) == ("org_system", None, "")
        with pytest.raises(DeadLetterNotFound):
            await letters.get(tx, 987654)


async def test_the_dead_are_found_by_their_own_index_among_many_tasks(ledger, system):
    await dead_render(ledger)
    await ledger.rows(
        "insert into tasks (organization_id, event_id, actor, subject, queue, state, ended_at) "
        "select :id, 'evt_' || n, 'x', 'gen_x', 'images', 'done', now() from generate_series(1, 5000) n returning 1",
        id=ledger.organization,
    )
    async with system.system_transaction() as tx:
        query = "explain select id from tasks where state = 'dead' and id + 0 > 0 order by id + 0 limit 100"
        plan = "\n".join((await tx.exec_driver_sql(query)).scalars())
    assert "ix_tasks_dead_in_order" in plan
    assert "Seq Scan" not in plan
    assert "Sort" not in plan

"""What waits for a person: looked at, started over, given up; and each of these in the audit trail."""

import asyncio

import msgspec
import pytest

from domain.dead_letters import letters as listed
from domain.dead_letters.letters import Filter
from domain.generations import lifecycle
from domain.generations.errors import GenerationNotReplayable
from domain.subscriptions.errors import InsufficientCredits
from domain.tasks import claims, dead_letters, replays
from domain.tasks.dead_letters import DeadLetter, SetAside
from domain.tasks.errors import DeadLetterNotFound, ExpansionFailed, SetAsideEventNotFound
from domain.tasks.outcomes import Task
from tests.integration.domain.ledger import Ledger

REACTION = {"event": "generation.accepted", "actor": "generations.render", "queue": "images", "priority": 0}


async def letters(ledger: Ledger) -> list[DeadLetter]:
    async with ledger.system.system_transaction() as tx:
        return await listed.oldest(tx, Filter())


async def dead(ledger: Ledger, reason: str = "tests") -> Task:
    """A task that was buried, and nothing more: its generation still runs."""
    task = await ledger.running()
    async with ledger.database.transaction(ledger.organization) as tx:
        assert await claims.bury(tx, task, reason=reason)
    return task


async def trail(ledger: Ledger) -> list[tuple[str, str, str]]:
    return [tuple(row) for row in await ledger.rows("select actor, action, subject from audit_entries order by id")]


async def test_one_is_shown_while_it_is_dead(ledger, system):
    task = await dead(ledger)
    async with system.system_transaction() as tx:
        letter = await dead_letters.one(tx, task.id)
        assert (letter.subject, letter.attempts, letter.organization_id) == (task.subject, 1, ledger.organization)
        with pytest.raises(DeadLetterNotFound):
            await dead_letters.one(tx, 987654)


async def test_a_revived_task_starts_over(ledger, database):
    await dead(ledger)
    (letter,) = await letters(ledger)
    async with database.transaction(ledger.organization) as tx:
        await dead_letters.revive(tx, letter, by="operator")
    (again,) = await ledger.claim()
    assert (again.id, again.attempts, again.deaths) == (letter.id, 0, 0)
    assert await trail(ledger) == [("operator", "dead_letter.replayed", str(letter.id))]


async def test_a_render_is_replayed_under_a_new_hold(ledger, database):
    task = await ledger.running()
    await ledger.die(task)
    (letter,) = await letters(ledger)
    async with database.transaction(ledger.organization) as tx:
        await dead_letters.supersede(tx, letter, by="operator")
        await lifecycle.replay(tx, letter)
    assert await letters(ledger) == []
    assert await ledger.moves(task.subject) == [("hold", 1), ("release", 1), ("hold", 1)]
    assert (await ledger.started(task.subject)).id != task.id
    assert await trail(ledger) == [("operator", "dead_letter.replayed", str(letter.id))]


async def test_without_credits_a_dead_render_stays_where_it_is(make_organization, database, system):
    ledger = Ledger(database, system, (await make_organization(grant=1)).id)
    await ledger.die(await ledger.running())
    await ledger.generation()
    (letter,) = await letters(ledger)

    async def replay() -> None:
        async with database.transaction(ledger.organization) as tx:
            await dead_letters.supersede(tx, letter, by="operator")
            await lifecycle.replay(tx, letter)

    with pytest.raises(InsufficientCredits):
        await replay()
    assert await letters(ledger) == [letter]
    assert await trail(ledger) == []


async def test_of_two_who_replay_at_once_one_does(ledger, database):
    await ledger.die(await ledger.running())
    (letter,) = await letters(ledger)

    async def replay() -> None:
        async with database.transaction(ledger.organization) as tx:
            await dead_letters.supersede(tx, letter, by="operator")
            await lifecycle.replay(tx, letter)

    both = await asyncio.gather(replay(), replay(), return_exceptions=True)
    assert sorted(map(type, both), key=str) == sorted([type(None), DeadLetterNotFound], key=str)
    assert len(await trail(ledger)) == 1
    assert await ledger.available() == 99


async def test_a_render_whose_generation_has_not_failed_is_not_replayed(ledger, database):
    await dead(ledger)
    (letter,) = await letters(ledger)
    async with database.transaction(ledger.organization) as tx:
        with pytest.raises(GenerationNotReplayable):
            await lifecycle.replay(tx, letter)


async def test_a_discarded_task_is_over_and_the_reason_is_kept(ledger, database):
    await dead(ledger)
    (letter,) = await letters(ledger)
    async with database.transaction(ledger.organization) as tx:
        await dead_letters.discard(tx, letter, by="operator", reason="the customer has left")
        with pytest.raises(DeadLetterNotFound):
            await dead_letters.discard(tx, letter, by="operator", reason="again")
    assert await ledger.claim() == []
    (entry,) = await ledger.rows("select * from audit_entries")
    assert entry.action == "dead_letter.discarded"
    assert entry.details == {"actor": lifecycle.RENDER, "reason": "the customer has left"}


async def test_a_task_of_another_organization_is_not_touched(ledger, make_organization, database):
    await dead(ledger)
    (letter,) = await letters(ledger)
    other = await make_organization()
    async with database.transaction(other.id) as tx:
        with pytest.raises(DeadLetterNotFound):
            await dead_letters.revive(tx, letter, by="operator")


async def test_a_customers_replay_takes_the_old_tasks_out_of_the_dead_letters(ledger, database):
    task, other = await dead(ledger), await dead(ledger)
    thing = {"actor": task.actor, "event_id": task.event_id, "target": "", "subject": task.subject}
    async with database.transaction(ledger.organization) as tx:
        assert await replays.supersede(tx, ledger.organization, **thing) == 1
        assert await replays.supersede(tx, ledger.organization, **thing) == 0
    assert [letter.id for letter in await letters(ledger)] == [other.id]


async def aside(ledger: Ledger) -> SetAside:
    """The accepted event of a new generation, set aside as the relay does when it cannot expand it."""
    await ledger.generation()
    broken = [REACTION | {"targets": "no_such_function"}]
    async with ledger.system.system_transaction() as tx:
        await tx.exec_driver_sql("select expand_events(array['generation.accepted'], $1::jsonb, 10)", (_json(broken),))
        (event,) = await dead_letters.set_aside(tx)
    return event


async def test_an_event_that_was_set_aside_is_expanded_again_in_its_place(ledger, system):
    event = await aside(ledger)
    assert (event.type, event.organization_id) == ("generation.accepted", ledger.organization)
    assert "no_such_function" in event.error
    async with system.system_transaction() as tx:
        assert await dead_letters.one_set_aside(tx, event.event_id) == event
        await dead_letters.expand_again(tx, event, [REACTION], by="operator")
        assert await dead_letters.set_aside(tx) == []
    assert len(await ledger.claim()) == 1
    assert await ledger.value("select count(*) from feed where event_id = :id", id=event.event_id) == 1
    assert await trail(ledger) == [("operator", "set_aside_event.replayed", event.event_id)]


async def test_an_event_that_still_cannot_be_expanded_stays_set_aside(ledger, system):
    event = await aside(ledger)

    async def expand() -> None:
        async with system.system_transaction() as tx:
            await dead_letters.expand_again(tx, event, [REACTION | {"targets": "not_there"}], by="operator")

    with pytest.raises(ExpansionFailed, match="not_there"):
        await expand()
    async with system.system_transaction() as tx:
        assert await dead_letters.set_aside(tx) == [event]
    assert await trail(ledger) == []


async def test_an_event_that_is_given_up_is_gone_from_there(ledger, system):
    event = await aside(ledger)
    async with system.system_transaction() as tx:
        await dead_letters.drop(tx, event, by="operator", reason="nobody needs it")
        with pytest.raises(SetAsideEventNotFound):
            await dead_letters.drop(tx, event, by="operator", reason="again")
        with pytest.raises(SetAsideEventNotFound):
            await dead_letters.one_set_aside(tx, event.event_id)
    (entry,) = await ledger.rows("select * from audit_entries")
    assert (entry.action, entry.details["reason"]) == ("set_aside_event.discarded", "nobody needs it")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()

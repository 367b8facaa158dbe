"""What an operator does about tasks that failed for good, by the command line and a real database."""

import time

import msgspec
import pytest

from domain.events import log
from domain.generations import lifecycle
from domain.tasks import claims
from domain.tasks.outcomes import Task
from domain.webhooks.events import EndpointTested
from tests.integration.domain.ledger import Ledger


async def dead_render(ledger: Ledger) -> Task:
    """Its generation has failed, its credits were given back."""
    task = await ledger.running()
    await ledger.die(task)
    return task


async def dead_withdrawal(ledger: Ledger) -> Task:
    """Of an actor that has no replay of its own."""
    generation_id = await ledger.generation()
    async with ledger.database.transaction(ledger.organization) as tx:
        await lifecycle.cancel(tx, ledger.organization, generation_id, by="caller", traceparent=None)
    (task,) = await ledger.claim("generations.withdraw", subject=generation_id)
    async with ledger.database.transaction(ledger.organization) as tx:
        assert await claims.bury(tx, task, reason="the database was away")
    return task


async def set_aside(ledger: Ledger, kind: str = "generation.accepted") -> str:
    """Id of an event that the relay could not expand."""
    await ledger.generation()
    broken = [{"event": kind, "actor": "x", "queue": "x", "priority": 0, "targets": "no_such_function"}]
    async with ledger.system.system_transaction() as tx:
        await tx.exec_driver_sql(
            "select expand_events(array[$1::text], $2::jsonb, 10)", (kind, msgspec.json.encode(broken).decode())
        )
    return str(await ledger.value("select event_id from set_aside_events order by 1 desc limit 1"))


async def trail(ledger: Ledger) -> list[tuple[str, str]]:
    return [(row.action, row.subject) for row in await ledger.rows("select * from audit_entries order by id")]


async def test_nothing_waits_at_first(atelier):
    answer = await atelier("dead-letters", "list")
    assert (answer.status, answer.out) == (0, "Nothing waits for a person.\n")
    assert (await atelier("dead-letters", "replay", "--all")).out == answer.out
    assert (await atelier("dead-letters", "list", "--json")).json == {"dead_letters": [], "set_aside_events": []}


async def test_what_waits_is_listed_for_people_and_for_programs(atelier, ledger):
    render, withdrawal, event = await dead_render(ledger), await dead_withdrawal(ledger), await set_aside(ledger)
    shown = (await atelier("dead-letters", "list")).out
    heads, first, second, aside_heads, aside = shown.splitlines()
    assert heads.split()[:3] == ["TASK", "ACTOR", "SUBJECT"]
    assert first.split()[:5] == [str(render.id), "generations.render", render.subject, "1", "0"]
    assert second.endswith("the database was away")
    assert aside_heads.startswith("SET-ASIDE EVENT")
    assert aside.split()[:2] == [event, "generation.accepted"]
    told = (await atelier("dead-letters", "list", "--json")).json
    assert [letter["id"] for letter in told["dead_letters"]] == [render.id, withdrawal.id]
    assert [each["event_id"] for each in told["set_aside_events"]] == [event]
    narrowed = (await atelier("dead-letters", "list", "--actor", "generations.render", "--json")).json
    assert ([letter["id"] for letter in narrowed["dead_letters"]], narrowed["set_aside_events"]) == ([render.id], [])


async def test_filters_narrow_what_is_listed_and_replayed(atelier, ledger):
    render, withdrawal = await dead_render(ledger), await dead_withdrawal(ledger)
    for filters, found in (
        (("--reason", "DATABASE"), [withdrawal.id]),
        (("--queue", "tests", "--organization", ledger.organization), [render.id, withdrawal.id]),
        (("--queue", "images"), []),
    ):
        told = (await atelier("dead-letters", "list", *filters, "--json")).json
        assert [letter["id"] for letter in told["dead_letters"]] == found
    answer = await atelier("dead-letters", "replay", "--all", "--reason", "database")
    assert answer.out == f"✓ {withdrawal.id} replayed\n"


async def test_one_is_shown_with_each_of_its_failures(atelier, ledger):
    task = await dead_withdrawal(ledger)
    shown = (await atelier("dead-letters", "show", str(task.id))).out
    assert f"subject          {task.subject}\n" in shown
    assert "1. failure at 20" in shown
    assert shown.endswith("the database was away\n")
    assert (await atelier("dead-letters", "show", str(task.id), "--json")).json["id"] == task.id
    event = await set_aside(ledger)
    assert "no_such_function" in (await atelier("dead-letters", "show", event)).out


@pytest.mark.parametrize("name", ["987654", "evt_01jd3v6t2cf5a9x0kqzr8m4n7p", "gen_x"])
async def test_what_is_not_there_is_said(name, atelier):
    answer = await atelier("dead-letters", "show", name)
    assert answer.status == 2
    assert answer.err.startswith("atelier: ")


async def test_a_dead_render_is_replayed_under_a_new_hold(atelier, ledger):
    task = await dead_render(ledger)
    answer = await atelier("dead-letters", "replay", str(task.id))
    assert (answer.status, answer.out) == (0, f"✓ {task.id} replayed\n")
    assert await ledger.moves(task.subject) == [("hold", 1), ("release", 1), ("hold", 1)]
    assert (await ledger.started(task.subject)).id != task.id
    assert await trail(ledger) == [("dead_letter.replayed", str(task.id))]
    again = await atelier("dead-letters", "replay", str(task.id))
    assert (again.status, again.out) == (1, "")
    assert "(dead_letter_not_found)" in again.err


async def test_a_task_without_a_business_state_of_its_own_starts_over(atelier, ledger):
    task = await dead_withdrawal(ledger)
    assert (await atelier("dead-letters", "replay", str(task.id))).status == 0
    (again,) = await ledger.claim("generations.withdraw")
    assert (again.id, again.attempts) == (task.id, 0)


async def test_all_are_replayed_and_what_is_refused_stays(atelier, ledger):
    renders = [await dead_render(ledger) for _ in range(3)]
    withdrawal = await dead_withdrawal(ledger)
    await ledger.rows("update credit_accounts set available = 2 returning 1")
    answer = await atelier("dead-letters", "replay", "--all", "--actor", "generations.render", "--json")
    assert answer.status == 1
    assert answer.json["replayed"] == [str(task.id) for task in renders[:2]]
    (refused,) = answer.json["refused"]
    assert (refused["id"], refused["code"]) == (str(renders[2].id), "insufficient_credits")
    left = (await atelier("dead-letters", "list", "--json")).json["dead_letters"]
    assert [letter["id"] for letter in left] == [renders[2].id, withdrawal.id]


async def test_a_rate_spreads_them(atelier, ledger):
    for _ in range(3):
        await dead_render(ledger)
    began = time.monotonic()
    assert (await atelier("dead-letters", "replay", "--all", "--rate", "10")).status == 0
    assert time.monotonic() - began > 0.25


async def test_events_that_were_set_aside_are_expanded_again(atelier, ledger):
    event = await set_aside(ledger)
    answer = await atelier("dead-letters", "replay", "--set-aside")
    assert answer.out == f"✓ {event} replayed\n"
    assert [
        (row.actor, row.queue) for row in await ledger.rows("select * from tasks where event_id = :id", id=event)
    ] == [("generations.render", "images")]
    assert await trail(ledger) == [("set_aside_event.replayed", event)]


async def test_an_event_that_this_release_does_not_know_stays_aside(atelier, ledger):
    async with ledger.database.transaction(ledger.organization) as tx:
        (event,) = await log.append(tx, ledger.organization, EndpointTested(subject="whe_x"))
    await set_aside(ledger, EndpointTested.type)
    await ledger.rows("update set_aside_events set type = 'moon.landed' returning 1")
    answer = await atelier("dead-letters", "replay", event)
    assert answer.status == 1
    assert "moon.landed" in answer.err
    assert await ledger.value("select count(*) from set_aside_events") == 1


async def test_a_task_of_an_actor_that_this_release_does_not_have_stays_dead(atelier, ledger):
    task = await dead_withdrawal(ledger)
    await ledger.rows("update tasks set actor = 'moons.land' where id = :id returning 1", id=task.id)
    answer = await atelier("dead-letters", "replay", str(task.id))
    assert (answer.status, "(dead_letter_not_replayable)" in answer.err) == (1, True)


async def test_what_is_discarded_is_gone_and_the_reason_kept(atelier, ledger):
    task, event = await dead_withdrawal(ledger), await set_aside(ledger)
    for name in (str(task.id), event):
        answer = await atelier("dead-letters", "discard", name, "--reason", "the customer has left")
        assert (answer.status, answer.out) == (0, f"✓ {name} discarded\n")
    assert (await atelier("dead-letters", "list")).out == "Nothing waits for a person.\n"
    entries = await ledger.rows("select * from audit_entries order by id")
    assert [entry.action for entry in entries] == ["dead_letter.discarded", "set_aside_event.discarded"]
    assert {entry.details["reason"] for entry in entries} == {"the customer has left"}


async def test_nothing_is_replayed_that_nobody_named(atelier):
    answer = await atelier("dead-letters", "replay")
    assert (answer.status, answer.out) == (2, "")

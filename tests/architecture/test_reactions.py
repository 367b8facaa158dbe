"""The page that shows the whole flow names every event and every actor, and says why where nothing happens."""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from domain.dead_letters import decisions
from domain.events.base import Event
from domain.generations.events import GenerationFailed
from domain.tasks.events import TaskDied
from tests.architecture.source import ROOT
from tests.architecture.test_events import facts
from tests.architecture.test_layout import domain_modules
from workers.actor import ACTORS
from workers.actors import webhooks
from workers.reactions import REACTIONS, Silent, to

WITHOUT_AN_END = {
    "upkeep.sweep": "the next tick sweeps all the same; the dead letter shows it",
    "upkeep.collect": "the next tick collects all the same; the dead letter shows it",
    "upkeep.prune": "the next tick prunes all the same; the dead letter shows it",
    "upkeep.check_storage": "the next tick looks again; the dead letter shows it",
    "notifications.mail": "a mail that can't be sent ends nothing but itself; the dead letter shows it",
    "webhooks.purge": "what is left of a deleted endpoint is seen by nobody; the dead letter shows it",
}


def complaints(events: list[type[Event]], reactions: Mapping[type[Event], Any], sql: str) -> Iterator[str]:
    yield from (f"{event.type} is not in REACTIONS" for event in events if event not in reactions)
    yield from (f"{event.type} is no event of the domain" for event in reactions if event not in events)
    for event, there in reactions.items():
        if isinstance(there, Silent):
            if len(there.reason.split()) < 3:
                yield f"{event.type}: say why nothing reacts"
            continue
        if not there:
            yield f"{event.type}: nothing reacts, and no reason is given"
        for reaction in there:
            if reaction.of and event is not TaskDied:
                yield f"{event.type}: `of` speaks of a task that died"
            if reaction.targets and f"function {reaction.targets}(" not in sql:
                yield f"{event.type}: there is no SQL function {reaction.targets}"


@pytest.fixture(scope="module")
def sql() -> str:
    return "\n".join(file.read_text() for file in (ROOT / "domain").rglob("*.sql"))


def test_every_event_has_its_reactions_or_a_reason_for_none(sql):
    assert list(complaints(facts(), REACTIONS, sql)) == []


def test_every_actor_is_used():
    used = {r.actor.name for there in REACTIONS.values() if not isinstance(there, Silent) for r in there}
    assert sorted(set(ACTORS) - used) == []


def test_for_each_actor_it_is_said_how_its_dead_tasks_begin_anew():
    assert sorted(decisions.WAYS) == sorted(ACTORS)


def test_an_actor_is_named_for_its_module_and_its_steps_are_asynchronous():
    for name, actor in ACTORS.items():
        module, verb = name.split(".")
        assert module in domain_modules()
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", verb)
        steps = filter(None, (actor.prepare, actor.work, actor.record))
        assert [step.__name__ for step in steps if not inspect.iscoroutinefunction(step)] == []


def test_the_end_of_every_task_that_matters_is_told_to_the_domain():
    """An actor with work of its own may fail for good; what ends its business state then is named."""
    ended = {reaction.of.name for reaction in REACTIONS[TaskDied] if reaction.of}
    assert sorted({name for name, actor in ACTORS.items() if actor.work} - ended - WITHOUT_AN_END.keys()) == []


@pytest.mark.parametrize(
    ("reactions", "said"),
    [
        ({}, "generation.failed is not in REACTIONS"),
        ({GenerationFailed: ()}, "generation.failed: nothing reacts, and no reason is given"),
        ({GenerationFailed: Silent("")}, "generation.failed: say why nothing reacts"),
        ({GenerationFailed: (to(webhooks.deliver, targets="nowhere"),)}, "there is no SQL function nowhere"),
        ({GenerationFailed: (to(webhooks.deliver, of=webhooks.deliver),)}, "`of` speaks of a task that died"),
        ({TaskDied: Silent("of no interest today")}, "task.died is no event of the domain"),
    ],
)
def test_what_breaks_it_is_named(reactions, said):
    assert said in "\n".join(complaints([GenerationFailed], reactions, sql=""))

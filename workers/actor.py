"""What an actor is: three functions of the domain, and the queue and policy under which they run."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from domain.tasks.outcomes import Outcome
from queue_config.queues import Queue
from queue_config.retries import STANDARD, RetryPolicy
from workers import tools

Step = Callable[..., Awaitable[Any]]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The database steps of an actor for many tasks of several organizations at once, for the common case alone. They
    run as atelier_system, in statements that join on (organization_id, id).

    prepare(system, tasks) → plans; None where the actor's own `prepare` has to look.
    fits(plan, outcome): whether `record` is for this end.
    record(system, [(task, plan, outcome)]) → whether each task was still ours; one statement, fence included.
    `says`: it appends events.
    `claim`: an SQL function in the place of `claim_tasks`, which takes tasks of all actors and begins this one's.
    """

    prepare: Step
    fits: Callable[[Any, Outcome], bool]
    record: Step
    says: bool
    claim: str | None = None


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """prepare(tx, task) → plan, or None when there is nothing to do any more (the task is done then).
    work(plan) → Done | Retry | Snooze | Fail, outside every transaction; None: nothing happens between the two.
    record(tx, task, plan, outcome), in the transaction that ends the try, after its fence.

    Each may ask for tools by naming them as keyword-only parameters (see `workers.tools`).

    How the work of a dead one begins anew is the domain's to say (`domain/dead_letters/decisions.py`).
    """

    name: str
    queue: Queue
    policy: RetryPolicy
    prepare: Step
    work: Step | None
    record: Step | None
    batch: Batch | None

    def name_in(self, queue: Queue) -> str:
        """What its messages in this queue are called: a worker knows by it in which room they belong."""
        return self.name if queue == self.queue else f"{self.name}@{queue.name}"


ACTORS: dict[str, Actor] = {}


def actor(
    name: str,
    *,
    queue: Queue,
    prepare: Step,
    work: Step | None = None,
    record: Step | None = None,
    batch: Batch | None = None,
    policy: RetryPolicy = STANDARD,
) -> Actor:
    """Declares an actor, `module.verb`. An actor without work does its whole task in `prepare`'s transaction."""
    for function in filter(None, (prepare, work, record, *((batch.prepare, batch.record) if batch else ()))):
        tools.names(function)
    declared = Actor(name=name, queue=queue, policy=policy, prepare=prepare, work=work, record=record, batch=batch)
    if ACTORS.setdefault(name, declared) is not declared:
        raise ValueError(f"two actors are called {name}")
    return declared

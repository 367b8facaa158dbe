"""What an actor is: three functions of the domain, and the queue and policy under which they run."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from queue_config.queues import Queue
from queue_config.retries import STANDARD, RetryPolicy
from workers import tools

Step = Callable[..., Awaitable[Any]]


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """prepare(tx, task) → plan, or None when there is nothing to do any more (the task is done then).
    work(plan) → Done | Retry | Snooze | Fail, outside every transaction; None: nothing happens between the two.
    record(tx, task, plan, outcome), in the transaction that ends the try, after its fence.

    Each may ask for tools by naming them as keyword-only parameters (see `workers.tools`).

    replay(tx, letter): begins the work of a dead task anew, under another event. None: the task itself starts over,
    for actors whose business state does not end with it.
    """

    name: str
    queue: Queue
    policy: RetryPolicy
    prepare: Step
    work: Step | None
    record: Step | None
    replay: Step | None


ACTORS: dict[str, Actor] = {}


def actor(
    name: str,
    *,
    queue: Queue,
    prepare: Step,
    work: Step | None = None,
    record: Step | None = None,
    replay: Step | None = None,
    policy: RetryPolicy = STANDARD,
) -> Actor:
    """Declares an actor, `module.verb`. An actor without work does its whole task in `prepare`'s transaction."""
    for function in filter(None, (prepare, work, record)):
        tools.names(function)
    declared = Actor(name=name, queue=queue, policy=policy, prepare=prepare, work=work, record=record, replay=replay)
    if ACTORS.setdefault(name, declared) is not declared:
        raise ValueError(f"two actors are called {name}")
    return declared

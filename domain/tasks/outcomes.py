"""What an actor is given and how its work may end."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from domain.events import base, log
from runtime.database import Reader, SystemDatabase


class Task(msgspec.Struct, frozen=True):
    """A claimed task with the event that it reacts to. `attempts` are the failed tries before this one; `begun`: what
    the claim has begun already, as its function says it; `ahead`: it may pass others that the process has.
    """

    id: int
    organization_id: str
    event_id: str
    event_type: str
    event_data: dict[str, Any]
    occurred_at: datetime
    correlation_id: str
    traceparent: str | None
    actor: str
    target: str
    subject: str
    attempts: int
    deaths: int
    lease_token: int
    waited_seconds: float
    begun: dict[str, Any] | None = None
    ahead: bool = False

    @property
    def cause(self) -> log.Cause:
        return log.Cause(self.correlation_id, self.event_id, self.traceparent)

    @property
    def event(self) -> base.Event:
        return base.read(self.event_type, self.subject, self.event_data)


class Done(msgspec.Struct, frozen=True):
    """The work is done; `result` is for `record`."""

    result: Any = None


class Retry(msgspec.Struct, frozen=True):
    """It failed this time. Counts as an attempt; `at` None leaves the time to the queue's policy."""

    reason: str
    at: datetime | None = None
    result: Any = None
    final: bool = False
    """The domain's own schedule is used up: bury the task."""


class Snooze(msgspec.Struct, frozen=True):
    """Not now, and nobody's fault (a breaker is open, the store is away): counts as nothing."""

    at: datetime
    reason: str


class Fail(msgspec.Struct, frozen=True):
    """It can never work (the customer's input, not ours): the business state ends in `record`, the task is done."""

    code: str
    detail: str


Outcome = Done | Retry | Snooze | Fail


class CarryOn(Protocol):
    """A tool of those who send on what follows from their commit, where the relay would do so a moment later.

    `reaction` is the row of the relay's table, as JSON; `room`: while so many of its queue's tasks are on their way,
    the relay is left to decide whose turn it is (0: always).
    """

    reaction: str

    @property
    def room(self) -> int: ...

    def send(self, tasks: Sequence[int], *, ahead: bool = False) -> None:
        """Of tasks that are dispatched, `ahead` of others or in their turn; returns at once. A message that is lost is
        sent again by the relay.
        """


DescribeMany = Callable[[SystemDatabase, Sequence[tuple[str, base.Event]]], Awaitable[list[dict[str, Any]]]]
"""The same for events of several organizations at once, each named with its organization."""

Describe = Callable[[Reader, base.Event], Awaitable[dict[str, Any]]]
"""A tool of actors: how the thing that an event speaks of looks from outside, as the API would answer it."""

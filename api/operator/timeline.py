"""A trail in the order in which it happened."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from api.operator.trail import Step, Trail

Kind = Literal["request", "charge", "asset", "event", "task", "try", "attempt", "mail"]

# What one transaction wrote carries one time; this is the order in which one would tell it.
_ORDER: Final[dict[Kind, int]] = {
    "request": 0, "attempt": 1, "try": 2, "charge": 3, "asset": 4, "event": 5, "task": 6, "mail": 7,
}  # fmt: skip


class Moment(msgspec.Struct, frozen=True):
    kind: Kind
    step: Step


def moments(trail: Trail) -> list[Moment]:
    """Deliveries have none of their own: each is told with its task."""
    found = [
        *_each("request", [trail.request]),
        *_each("charge", trail.charges),
        *_each("asset", [trail.asset] if trail.asset else []),
        *_each("event", trail.events),
        *_each("task", trail.tasks),
        *_each("try", (failure for task in trail.tasks for failure in task.failures)),
        *_each("attempt", (attempt for delivery in trail.deliveries for attempt in delivery.attempts)),
        *_each("mail", trail.mails),
    ]
    return sorted(found, key=lambda moment: (moment.step.at, _ORDER[moment.kind]))


def _each(kind: Kind, steps: Iterable[Step]) -> list[Moment]:
    return [Moment(kind, step) for step in steps]

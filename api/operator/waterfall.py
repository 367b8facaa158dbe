"""Where the time went: one lane for each task, drawn along one scale."""

import math
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

from api.operator.trail import DeliveryStep, EventStep, TaskStep, Trail

Doing = Literal["relay", "waiting", "running", "failed", "attempt", "refused"]
"""relay: the event waited for it; waiting: due, and not claimed yet; attempt, refused: one HTTP try, answered with 2xx
or not.
"""

LABELS: Final[dict[Doing, str]] = {
    "relay": "waiting for the relay",
    "waiting": "waiting for a worker",
    "running": "at work",
    "failed": "at work, in vain",
    "attempt": "delivered",
    "refused": "attempt that failed",
}
NARROWEST: Final = 0.35
"""Per cent of the width; what took no time can be seen too."""
_CUT: Final = 5.0
_MOST_CUT: Final = 40.0
_LONG: Final = 0.6
"""A pause longer than this part of all that was done is cut short."""
_SHORTEST_CUT: Final = 100.0
_TICKS: Final = 6
_ROOM: Final = 11.0
"""Per cent of the width that the label of a tick needs."""


class Bar(msgspec.Struct, frozen=True):
    """`start` and `end` in milliseconds since acceptance, `x` and `width` in per cent."""

    doing: Doing
    start: float
    end: float
    x: float = 0.0
    width: float = 0.0


class Mark(msgspec.Struct, frozen=True):
    """A failed try, or the death of a worker."""

    kind: str
    ms: float
    reason: str
    x: float = 0.0


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """`x` and `width` are its life from the relay's writing to its end, or to now."""

    name: str
    target: str
    state: str
    start: float
    end: float
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...] = ()
    x: float = 0.0
    width: float = 0.0


class Tick(msgspec.Struct, frozen=True):
    x: float
    ms: float


class Waterfall(msgspec.Struct, frozen=True):
    """`cuts` are pauses that were cut short, as (x, width, milliseconds)."""

    lanes: list[Lane]
    ticks: list[Tick]
    cuts: list[tuple[float, float, float]]


class Scale:
    """Milliseconds → per cent of the width, evenly within each stretch in which something was done."""

    def __init__(self, busy: Iterable[tuple[float, float]]) -> None:
        stretches = _joined(sorted(busy), 0.0)
        done = sum(end - start for start, end in stretches)
        self.stretches = _joined(stretches, max(_LONG * done, _SHORTEST_CUT))
        pauses = len(self.stretches) - 1
        self._cut = min(_CUT, _MOST_CUT / pauses) if pauses else 0.0
        shown = sum(end - start for start, end in self.stretches) or 1.0
        self.per_ms = (100.0 - pauses * self._cut) / shown

    def at(self, ms: float) -> float:
        x = 0.0
        for number, (start, end) in enumerate(self.stretches):
            if ms < start:
                before = self.stretches[number - 1][1] if number else start
                return x - self._cut * (start - ms) / (start - before) if number else 0.0
            if ms <= end or number == len(self.stretches) - 1:
                return min(100.0, x + (ms - start) * self.per_ms)
            x += (end - start) * self.per_ms + self._cut
        return x

    def cuts(self) -> list[tuple[float, float, float]]:
        pairs = zip(self.stretches, self.stretches[1:], strict=False)
        return [(self.at(before[1]), self._cut, after[0] - before[1]) for before, after in pairs]

    def ticks(self) -> list[Tick]:
        """The beginning of each stretch and round numbers within it, as far as there is room for labels."""
        found: list[Tick] = []
        step = _round_step(100.0 / self.per_ms / _TICKS)
        for start, end in self.stretches:
            round_ones = (step * n for n in range(math.floor(start / step) + 1, math.ceil(end / step)))
            for ms in (start, *round_ones):
                x = self.at(ms)
                if not found or x - found[-1].x >= _ROOM:
                    found.append(Tick(x, ms))
        return found


def draw(trail: Trail, now_ms: float) -> Waterfall:
    lanes = [*_lanes(trail, now_ms)]
    bars = ((bar.start, bar.end) for lane in lanes for bar in lane.bars)
    marks = ((mark.ms, mark.ms) for lane in lanes for mark in lane.marks)
    scale = Scale([(0.0, trail.total_ms if trail.total_ms and not lanes else 0.0), *bars, *marks])
    return Waterfall([_placed(lane, scale) for lane in lanes], scale.ticks(), scale.cuts())


def doings(drawn: Waterfall) -> list[Doing]:
    """Those that the legend has to explain."""
    seen = {bar.doing for lane in drawn.lanes for bar in lane.bars}
    return [doing for doing in LABELS if doing in seen]


def _lanes(trail: Trail, now_ms: float) -> Iterator[Lane]:
    reacted = {task.event_id for task in trail.tasks}
    deliveries = {delivery.id: delivery for delivery in trail.deliveries}
    for task in trail.tasks:
        delivery = deliveries.get(task.delivery_id or "")
        yield _lane(task, delivery, now_ms)
    for event in trail.events:
        if event.state != "expanded" and event.id not in reacted:
            yield _unexpanded(event, now_ms)


def _lane(task: TaskStep, delivery: DeliveryStep | None, now_ms: float) -> Lane:
    return Lane(
        name=task.actor,
        target=delivery.host if delivery else task.target,
        state=task.state,
        start=task.ms,
        end=max(task.ms, now_ms) if task.ended_ms is None else task.ended_ms,
        bars=(*_waits(task, now_ms), *_work(task, now_ms), *_attempts(task, delivery)),
        marks=tuple(Mark(failure.kind, failure.ms, failure.reason) for failure in task.failures),
    )


def _waits(task: TaskStep, now_ms: float) -> Iterator[Bar]:
    yield Bar("relay", task.ms - task.relay_ms, task.ms)
    if task.waited_ms is not None:
        yield Bar("waiting", task.due_ms, task.due_ms + task.waited_ms)
    elif task.state in ("ready", "dispatched") and task.due_ms < now_ms:
        yield Bar("waiting", task.due_ms, now_ms)


def _work(task: TaskStep, now_ms: float) -> Iterator[Bar]:
    if task.started_ms is not None and task.state == "running":
        yield Bar("running", task.started_ms, max(task.started_ms, now_ms))
    elif task.started_ms is not None and task.ran_ms is not None:
        yield Bar("running" if task.state == "done" else "failed", task.started_ms, task.started_ms + task.ran_ms)


def _attempts(task: TaskStep, delivery: DeliveryStep | None) -> Iterator[Bar]:
    """Those made while this task lived: a replay of the same delivery has a task of its own."""
    for attempt in delivery.attempts if delivery else ():
        if task.ms <= attempt.ms <= (attempt.ms if task.ended_ms is None else task.ended_ms):
            well = attempt.status_code is not None and 200 <= attempt.status_code < 300
            yield Bar("attempt" if well else "refused", attempt.ms, attempt.ms + attempt.duration_ms)


def _unexpanded(event: EventStep, now_ms: float) -> Lane:
    waits = Bar("relay", event.ms, max(event.ms, now_ms))
    return Lane(name=event.type, target="", state=event.state, start=event.ms, end=waits.end, bars=(waits,))


def _placed(lane: Lane, scale: Scale) -> Lane:
    replace = msgspec.structs.replace

    def placed(bar: Bar) -> Bar:
        x = scale.at(bar.start)
        return replace(bar, x=min(x, 100 - NARROWEST), width=max(NARROWEST, scale.at(bar.end) - x))

    x = scale.at(lane.start)
    return replace(
        lane,
        x=x,
        width=scale.at(lane.end) - x,
        bars=tuple(placed(bar) for bar in lane.bars),
        marks=tuple(replace(mark, x=scale.at(mark.ms)) for mark in lane.marks),
    )


def _joined(spans: Iterable[tuple[float, float]], longest: float) -> list[tuple[float, float]]:
    """Spans in order, where those no further apart than `longest` are one."""
    joined: list[tuple[float, float]] = []
    for start, end in spans:
        if joined and start - joined[-1][1] <= longest:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)

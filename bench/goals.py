"""The one table that matters: this product beside what others would build, in one run, and what we aim at."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from bench import report
from bench.measure import Figures

Peers = dict[str, dict[str, Any]]
"""The driver's medians of `peer` and of `this`, and what else was measured of the peer; empty where it is not there."""


class Goal(NamedTuple):
    """`ours` and `other` are found in the medians of the own rounds and in the peers' figures; None when one of them
    is missing. `aim` is for the ratio of the two, or for ours where there is no other.
    """

    name: str
    unit: str
    against: str
    ours: Callable[[dict[str, float], Peers], float]
    other: Callable[[dict[str, float], Peers], float] | None
    at_least: float | None = None
    at_most: float | None = None


class Row(msgspec.Struct, frozen=True):
    name: str
    unit: str
    against: str
    ours: float
    other: float | None
    aim: str
    met: bool

    @property
    def ratio(self) -> float | None:
        return self.ours / self.other if self.other else None


def _peer(key: str) -> tuple[Callable[[dict[str, float], Peers], float], Callable[[dict[str, float], Peers], float]]:
    return lambda _, peers: peers["this"][key], lambda _, peers: peers["peer"][key]


def _own(key: str) -> Callable[[dict[str, float], Peers], float]:
    return lambda own, _: own[key]


def _webhooks(_: dict[str, float], peers: Peers) -> float:
    return float(peers["peer"]["webhooks_s"])


CELERY: Final = "FastAPI + SQLAlchemy + Celery"
GOALS: Final = (
    Goal("accepted, workers running", "/s", CELERY, *_peer("accept_s"), at_least=4),
    Goal("accepted by the API alone", "/s", "raw ASGI app", _own("alone_rate"), _own("raw_rate"), at_least=0.6),
    Goal("CPU of the API for one accept", "µs", "raw ASGI app", _own("alone_cpu"), _own("raw_cpu"), at_most=1.6),
    Goal("accept p99 at half of the peer's rate", "ms", CELERY, *_peer("half_p99_ms"), at_most=0.5),
    Goal("completed, POST to webhook", "/s", CELERY, *_peer("complete_s"), at_least=3),
    Goal("POST to webhook p50 at half of the peer's rate", "ms", CELERY, *_peer("e2e_p50_ms"), at_most=0.7),
    Goal("POST to webhook p50 after idle", "ms", "", _own("idle_p50"), None, at_most=15),
    Goal("relay, tasks into messages", "/s", "", _own("relay_rate"), None, at_least=30_000),
    Goal("webhooks of one process", "/s", "Celery + requests", _own("delivery_rate"), _webhooks, at_least=8),
    Goal("one hot organization", "/s", "accepts one by one", _own("together_rate"), _own("single_rate"), at_least=3),
    Goal("killed workers' work done again after", "s", "", lambda _, p: p["this"]["crash_last_s"], None, at_most=6),
    Goal("lost after a SIGKILL of the workers", "", CELERY, *_peer("lost"), at_most=0),
    Goal("memory of all processes (PSS)", "MiB", CELERY, *_peer("peak_pss_mb"), at_most=0.8),
    Goal("accepted without Redis", "/s", "with Redis", _own("redis_stopped_rate"), _own("alone_rate"), at_least=0.67),
)  # fmt: skip


def rows(rounds: Sequence[Figures], peers: Peers) -> list[Row]:
    own = report.medians(rounds)
    made = (_row(goal, own, peers) for goal in GOALS)
    return [row for row in made if row is not None]


def table(found: Sequence[Row]) -> str:
    lines = [f"| {'measure':<46} | {'ours':>8} | {'other':>8} | {'ratio':>5} | {'aim':<9} | {'':<7} | against |"]
    lines.append(f"|{'-' * 48}|{'-' * 9}:|{'-' * 9}:|{'-' * 6}:|{'-' * 11}|{'-' * 9}|{'-' * 9}|")
    for row in found:
        name = f"{row.name}, {row.unit}" if row.unit else row.name
        other = "" if row.other is None else report.number(row.other)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        met = "met" if row.met else "not met"
        cells = f"{name:<46} | {report.number(row.ours):>8} | {other:>8} | {ratio:>5} | {row.aim:<9} | {met:<7}"
        lines.append(f"| {cells} | {row.against} |")
    return "\n".join(lines)


def _row(goal: Goal, own: dict[str, float], peers: Peers) -> Row | None:
    try:
        ours, other = goal.ours(own, peers), goal.other(own, peers) if goal.other else None
    except KeyError:  # the peers are not there
        return None
    value = ours / other if other else ours
    least, most = goal.at_least or -math.inf, math.inf if goal.at_most is None else goal.at_most
    aim = f"≥ {goal.at_least:,}" if goal.at_least else f"≤ {goal.at_most:,}"
    sign = "x" if goal.other and other else f" {goal.unit}".rstrip()
    return Row(goal.name, goal.unit, goal.against, ours, other, f"{aim}{sign}", least <= value <= most)

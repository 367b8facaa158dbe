"""Figures for people: one table of medians, with the lowest and the highest of all rounds."""

import statistics
from collections.abc import Callable, Iterator, Sequence

from bench.measure import Figures

ROWS: tuple[tuple[str, str, Callable[[Figures], float]], ...] = (
    ("accepted at saturation, workers running", "/s", lambda f: f.accepted_rate),
    ("  accept latency p50", "ms", lambda f: f.accept_p50),
    ("  accept latency p99", "ms", lambda f: f.accept_p99),
    ("  API CPU per accepted request", "ms", lambda f: f.accept_cpu),
    ("accept latency p50 at half of that load", "ms", lambda f: f.half_p50),
    ("  p99", "ms", lambda f: f.half_p99),
    ("completed (POST to webhook), accepting and draining", "/s", lambda f: f.completed_rate),
    ("POST to webhook p50 at half of that load", "ms", lambda f: f.webhook_p50),
    ("  p99", "ms", lambda f: f.webhook_p99),
    ("POST to webhook p50 after idle", "ms", lambda f: f.idle_p50),
    ("  p99", "ms", lambda f: f.idle_p99),
    ("accepted by the API alone", "/s", lambda f: f.alone_rate),
    ("  its CPU per accept", "µs", lambda f: f.alone_cpu),
    ("accepted by a raw ASGI app with our accept function", "/s", lambda f: f.raw_rate),
    ("  its CPU per accept", "µs", lambda f: f.raw_cpu),
    ("  Redis stopped", "/s", lambda f: f.redis_stopped_rate),
    ("  Redis frozen", "/s", lambda f: f.redis_frozen_rate),
    ("  times slower without Redis", "x", lambda f: f.without_redis),
    ("one hot organization, one by one", "/s", lambda f: f.single_rate),
    ("one hot organization, together", "/s", lambda f: f.together_rate),
    ("tasks that the relay makes into messages", "/s", lambda f: f.relay_rate),
    ("webhooks sent by one process", "/s", lambda f: f.delivery_rate),
    ("  its CPU for each", "µs", lambda f: f.delivery_cpu),
    ("CPU per completed generation, all processes", "ms", lambda f: sum(f.cpu.values())),
    ("memory (PSS), all but the servers, peak", "MiB", lambda f: sum(f.memory.values())),
)
PARTS: tuple[tuple[str, str, Callable[[Figures], dict[str, float]]], ...] = (
    ("CPU per completed generation", "ms", lambda f: f.cpu),
    ("memory (PSS), peak", "MiB", lambda f: f.memory),
)


def medians(rounds: Sequence[Figures]) -> dict[str, float]:
    """By the names of the figures."""
    single = [name for name in Figures.__struct_fields__ if isinstance(getattr(rounds[0], name), int | float)]
    return {name: statistics.median(getattr(each, name) for each in rounds) for name in single}


def table(rounds: Sequence[Figures]) -> str:
    lines = [f"  {'':<52}{'median':>9}       {'lowest':>9} {'highest':>9}"]
    lines += [_line(name, unit, [value(each) for each in rounds]) for name, unit, value in ROWS]
    for what, unit, parts in PARTS:
        lines.append(f"  {what}, by process")
        lines += [_line(f"  {name}", unit, values) for name, values in _by_process(rounds, parts)]
    lost, refused = (sum(getattr(each, name) for each in rounds) for name in ("lost", "refused"))
    return "\n".join([*lines, f"  accepted and without a webhook: {lost}; refused: {refused}"])


def _by_process(
    rounds: Sequence[Figures], parts: Callable[[Figures], dict[str, float]]
) -> Iterator[tuple[str, list[float]]]:
    for name in parts(rounds[0]):
        yield name, [parts(each).get(name, 0.0) for each in rounds]


def _line(name: str, unit: str, values: list[float]) -> str:
    median, lowest, highest = statistics.median(values), min(values), max(values)
    return f"  {name:<52}{number(median):>9} {unit:<5} {number(lowest):>9} {number(highest):>9}"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"

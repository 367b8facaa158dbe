"""This process's Prometheus metrics. A module defines its own beside its code, by its whole name, as one will look
for it: `metrics.counter("atelier_deliveries_total", "…", ["outcome"])`. Labels take values from short fixed lists,
never ids or texts.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Final, NoReturn

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

PREFIX: Final = "atelier_"
CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Buckets for durations, from a statement to a slow receiver."""
LAG_CHECK: Final = 0.5

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
_registry = CollectorRegistry()
prometheus_client.ProcessCollector(registry=_registry)
prometheus_client.PlatformCollector(registry=_registry)
prometheus_client.GCCollector(registry=_registry)


def counter(name: str, help_text: str, labels: Sequence[str] = ()) -> Counter:
    """`atelier_…_total`. Raises ValueError when the name is taken or has no such form, as the others do."""
    if not name.endswith("_total"):
        raise ValueError(f"a counter's name ends in _total, and {name} does not")
    return Counter(_checked(name), help_text, labels, registry=_registry)


def gauge(name: str, help_text: str, labels: Sequence[str] = ()) -> Gauge:
    return Gauge(_checked(name), help_text, labels, registry=_registry)


def histogram(name: str, help_text: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS) -> Histogram:
    """Durations are in seconds and named for it: `atelier_…_seconds`."""
    return Histogram(_checked(name), help_text, labels, buckets=buckets, registry=_registry)


def _checked(name: str) -> str:
    if not name.startswith(PREFIX):
        raise ValueError(f"{name} is not a metric of ours: names begin with {PREFIX}")
    return name


def render() -> bytes:
    """All metrics in Prometheus's text format 0.0.4."""
    return generate_latest(_registry)


process_info = gauge("atelier_process_info", "1 for what this process is", ["process", "pid"])
event_loop_lag = histogram("atelier_event_loop_lag_seconds", "How late an event loop ran what was due", ["loop"])


def configure(process: str) -> None:
    """Names this process in its own metrics: `api`, `relay`, `worker-io` …"""
    process_info.clear()
    process_info.labels(process, str(os.getpid())).set(1)


async def watch_event_loop(name: str) -> NoReturn:
    """To be run as a task on the loop that is watched; ends when it is cancelled."""
    lag = event_loop_lag.labels(name)
    while True:
        due = time.monotonic() + LAG_CHECK
        await asyncio.sleep(LAG_CHECK)
        lag.observe(max(0.0, time.monotonic() - due))

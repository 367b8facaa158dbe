import asyncio
import contextlib
import itertools
import time

import pytest

from runtime.telemetry import metrics

_names = (f"atelier_test_{n}" for n in itertools.count())


def line(name: str) -> str:
    """The sample line of a metric, as a scrape has it."""
    return next(line for line in metrics.render().decode().splitlines() if line.startswith(name))


def test_a_counter_is_exposed_with_its_help_and_labels() -> None:
    name = next(_names)
    metrics.counter(f"{name}_total", "What happened", ["outcome"]).labels("ok").inc(3)
    assert f"# HELP {name}_total What happened" in metrics.render().decode()
    assert line(f"{name}_total") == f'{name}_total{{outcome="ok"}} 3.0'


def test_a_gauge_may_be_asked_at_the_scrape() -> None:
    name = next(_names)
    waiting = [1, 2]
    metrics.gauge(name, "What waits").set_function(lambda: len(waiting))
    assert line(f"{name}") == f"{name} 2.0"
    waiting.append(3)
    assert line(f"{name}") == f"{name} 3.0"


def test_a_histogram_has_buckets_in_seconds() -> None:
    name = next(_names)
    metrics.histogram(name, "How long").observe(0.02)
    text = metrics.render().decode()
    assert f'{name}_bucket{{le="0.01"}} 0.0' in text
    assert f'{name}_bucket{{le="0.025"}} 1.0' in text
    assert "_created" not in text


def test_a_name_says_whose_metric_it_is_and_of_what_kind() -> None:
    with pytest.raises(ValueError, match="atelier_"):
        metrics.gauge("waiting", "What waits")
    with pytest.raises(ValueError, match="_total"):
        metrics.counter("atelier_tries", "What was tried")


def test_a_name_is_given_once() -> None:
    name = next(_names)
    metrics.gauge(name, "First")
    with pytest.raises(ValueError, match=name):
        metrics.gauge(name, "Second")


def test_the_process_shows_its_cpu_memory_and_what_it_is() -> None:
    metrics.configure("worker-io")
    text = metrics.render().decode()
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "python_info"):
        assert f"\n{name}" in text
    assert 'process="worker-io"' in line("atelier_process_info")


async def test_a_blocked_event_loop_is_seen() -> None:
    watching = asyncio.create_task(metrics.watch_event_loop("blocked"))
    await asyncio.sleep(0)
    time.sleep(metrics.LAG_CHECK + 0.2)
    await asyncio.sleep(0.05)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert float(line('atelier_event_loop_lag_seconds_sum{loop="blocked"}').split()[-1]) >= 0.2

"""A day of bad luck in ten minutes: a blow each few seconds, drawn from a seed, under load that goes on."""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Final

import psutil  # type: ignore[import-untyped]
import redis.asyncio

from bench.deploys.stage import Stage
from bench.telling import Tell
from cli.installation import Installation

GAP: Final = 10.0
"""Seconds between two blows, on average."""
PATIENCE: Final = 15.0
"""Seconds in which a customer sends a request again: more than one try may take."""
BLOWS: Final = {
    "replace api": 2,
    "replace relay": 2,
    "replace worker-images": 2,
    "replace worker-io": 2,
    "kill api": 1,
    "kill relay": 2,
    "kill worker-images": 2,
    "kill worker-io": 2,
    "kill render child": 2,
    "kill redis": 1,
    "flush redis": 2,
    "kill postgres": 1,
}
"""How often each is drawn, beyond once. `replace` is a rolling restart, `kill` is SIGKILL."""


async def carry_out(stage: Stage, *, minutes: float, seed: int, tell: Tell) -> Counter[str]:
    """What fell."""
    fallen = Counter[str]()
    for at, blow in plan(seed, minutes * 60):
        await asyncio.sleep(max(0.0, at - stage.load.seconds))
        tell(blow)
        fallen[blow] += 1
        await _strike(stage.running, blow)
    await asyncio.sleep(max(0.0, minutes * 60 - stage.load.seconds))
    return fallen


def table(blows: Counter[str]) -> Iterator[str]:
    yield f"\n  {'blow':<30}{'times':>6}"
    for name, count in sorted(blows.items()):
        yield f"  {name:<30}{count:>6}"


def plan(seed: int, seconds: float) -> Iterator[tuple[float, str]]:
    """When and what. The last few seconds are left alone."""
    drawing = random.Random(seed)
    names = drawing.sample(list(BLOWS), len(BLOWS))
    at = GAP / 2
    while at < seconds - GAP / 2:
        yield at, names.pop() if names else drawing.choices(list(BLOWS), weights=list(BLOWS.values()))[0]
        at += drawing.uniform(0.5, 1.5) * GAP


async def _strike(running: Installation, blow: str) -> None:
    how, _, target = blow.partition(" ")
    if how == "replace":
        await running.roll(target)
    elif how == "flush":
        with contextlib.suppress(redis.RedisError, OSError):
            async with redis.asyncio.Redis.from_url(running.settings.redis_url) as client:
                await client.flushall()
    elif pid := _pid(running, target):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _pid(running: Installation, target: str) -> int:
    """0: it has none just now."""
    if target != "render child":
        return running.pids().get(target, 0)
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(running.pids().get("worker-images", 0)).children()
        return max((child.pid for child in children), default=0)
    return 0

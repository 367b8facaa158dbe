"""`python -m bench.versus CHECKOUT`: this checkout and another one beside each other, asked in turn, so that what else
the machine does falls on both alike. `git worktree add ../before REVISION` makes another one; both run with this one's
packages.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from bench import figures, load, telling, usage
from bench.load import Generator, Sent, percentile
from bench.receiver import Receiver

COMMAND: Final = ".venv/bin/python -m bench.versus"
HERE: Final = Path(__file__).resolve().parents[2]
CONNECTIONS: Final = 16
IDLE_PAUSE: Final = 0.35
QUIET: Final = 30.0
"""Seconds without a webhook, after which what is missing is missing."""
LINE: Final = 1 << 20
"""Bytes that a checkout may say of itself."""

Found = dict[str, list[float]]
"""By what was measured: one figure of each turn."""


class Ready(msgspec.Struct, frozen=True):
    base_url: str
    api_keys: list[str]
    pids: dict[str, int]


class Side:
    """One of the two. `missing`: asked for, and refused or no webhook came: what is not done costs nothing."""

    def __init__(self, ready: Ready, receiver: Receiver) -> None:
        self.found: Found = defaultdict(list)
        self.missing = 0
        self.generator = Generator(ready.base_url, load.requests(ready.api_keys))
        self._receiver = receiver
        self._pids = ready.pids

    async def turn(self, where: str, send: Awaitable[Sent], *, alone: bool = False, flooded: bool = False) -> None:
        """Waits for the webhooks. Of requests that come `alone` CPU says nothing; rates are only said of a flood."""
        before = usage.cpu(self._pids)
        sent = await send
        await self._receiver.wait(sent.accepted, QUIET)
        after, told = usage.cpu(self._pids), self._receiver.told
        ends = {each: told[each] for each in sent.accepted if each in told}
        self.missing += sent.refused + len(sent.accepted) - len(ends)
        ways = sorted(end - sent.accepted[each] for each, end in ends.items())
        self.found[f"POST to webhook p50, {where}, ms"].append(percentile(ways, 0.5))
        self.found[f"accept p50, {where}, ms"].append(percentile(sent.latencies, 0.5))
        if alone or not ends:
            return
        self.found[f"accept p99, {where}, ms"].append(percentile(sent.latencies, 0.99))
        if flooded:
            self.found[f"accepted, {where}, /s"].append(sent.rate)
            self.found[f"completed, {where}, /s"].append(len(ends) / (max(ends.values()) - min(sent.accepted.values())))
        if min(after[name] - before[name] for name in self._pids) < 0:
            raise RuntimeError("a process was started anew meanwhile, so its CPU is not known")
        each = {name: (after[name] - before[name]) * 1000 / len(ends) for name in self._pids}
        self.found[f"CPU of an image, {where}, ms"].append(sum(each.values()))
        for name, milliseconds in each.items():
            self.found[f"  of it {name}, {where}, ms"].append(milliseconds)


def main() -> int:
    given = _parser().parse_args()
    if not (given.checkout / "bench" / "tenants.py").exists():
        print(f"{given.checkout} is no checkout of this project", file=sys.stderr)
        return 2
    here, other = uvloop.run(_compare(given, telling.from_now()))
    written = figures.write("versus", {"here": here.found, "other": other.found})
    print(f"\n{table(here.found, other.found)}\n\n  written to {written}")
    if here.missing or other.missing:
        print(f"  refused, or without a webhook: {here.missing} here, {other.missing} of the other", file=sys.stderr)
        return 1
    return 0


def table(here: Found, other: Found) -> str:
    lines = [f"| {'median of the turns':<52} | {'here':>8} | {'other':>8} | {'ratio':>5} |"]
    lines.append(f"|{'-' * 54}|{'-' * 9}:|{'-' * 9}:|{'-' * 6}:|")
    for name in (name for name in here if name in other):
        ours, theirs = statistics.median(here[name]), statistics.median(other[name])
        if theirs:
            lines.append(
                f"| {name:<52} | {figures.said(ours):>8} | {figures.said(theirs):>8} | {ours / theirs:>5.2f} |"
            )
    return "\n".join(lines)


async def _compare(given: argparse.Namespace, tell: telling.Tell) -> tuple[Side, Side]:
    async with Receiver() as receiver, contextlib.AsyncExitStack() as stack:
        tell("starting both")
        places = (HERE, given.checkout.resolve())
        sides = [Side(await stack.enter_async_context(_serving(place, receiver.url)), receiver) for place in places]
        for side in sides:
            await side.turn("", side.generator.closed(4, total=given.warm_up))
            side.found.clear()
        await _measure(sides, given, tell)
        here, other = sides
        return here, other


async def _measure(sides: Sequence[Side], given: argparse.Namespace, tell: telling.Tell) -> None:
    tell(f"after idle: {given.idle} requests each")
    for side in _in_turn(sides, given.idle):
        await asyncio.sleep(IDLE_PAUSE)
        await side.turn("after idle", side.generator.closed(1, total=1), alone=True)
    for rate in given.rates:
        tell(f"{rate:g} requests a second: {given.turns} turns each of {given.seconds:g} s")
        for side in _in_turn(sides, given.turns):
            await side.turn(f"{rate:g} a second", side.generator.paced(rate, given.seconds))
    tell(f"as many as it takes: {given.turns} turns each of {given.seconds / 2:g} s, then drained")
    for side in _in_turn(sides, given.turns):
        await side.turn("flooded", side.generator.closed(CONNECTIONS, seconds=given.seconds / 2), flooded=True)


def _in_turn(sides: Sequence[Side], turns: int) -> list[Side]:
    """A B, B A, A B …: who comes second has no advantage."""
    return [side for number in range(turns) for side in (sides if number % 2 == 0 else reversed(sides))]


@contextlib.asynccontextmanager
async def _serving(checkout: Path, hook: str) -> AsyncIterator[Ready]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("checkout.py")), hook),
        cwd=checkout,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        if not line:
            sys.exit(f"{checkout} did not start; what it said is above")
        yield msgspec.json.decode(line, type=Ready)
    finally:
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), QUIET)
        if process.returncode is None:
            process.kill()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("checkout", type=Path, help="folder of the other one")
    parser.add_argument("--rates", type=float, nargs="*", default=[40.0, 100.0], help="requests a second (40 and 100)")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="of each at each load (default 5)")
    parser.add_argument("--seconds", type=float, default=3, metavar="N", help="of a turn (default 3)")
    parser.add_argument("--idle", type=int, default=40, metavar="N", help="single requests after idle (default 40)")
    parser.add_argument("--warm-up", type=int, default=300, metavar="N", help="requests to each before (default 300)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

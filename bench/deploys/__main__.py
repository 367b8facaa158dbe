"""`python -m bench.deploys`: 10,000 requests while every process is replaced, by its like and by the next release,
with a migration in the middle; `--mixed`: ten minutes of requests while things break. Exit status 0 when all was kept.
"""

import argparse
import asyncio
import sys

from bench import figures, telling
from bench.deploys import mixed, report, stage
from bench.deploys.rollout import Rollout
from runtime.settings import Settings

AVAILABILITY, P95, ERRORS = 99.9, 200.0, 1.0
"""Goals of the mixed load: percent at least, milliseconds and percent at most."""


def main() -> int:
    given = _parser().parse_args()
    work = _mixed(given) if given.mixed else _rollout(given)
    return asyncio.run(work)


async def _rollout(given: argparse.Namespace) -> int:
    tell = telling.from_now()
    tell("starting an installation of its own")
    async with stage.open_stage(
        Settings(), rate=given.rate, patience=0.0, dispatched_timeout=given.dispatched_timeout
    ) as staged:
        staged.load.start()
        rollout = Rollout(staged, tell)
        await rollout.carry_out(given.rolls)
        await staged.load.reach(given.requests)
        tell("waiting until everything has come to its end")
        outcome = await stage.settle(staged)
        probes = await rollout.probes()
        asked = staged.load.asked
    whole = report.seen(asked)
    lines = [*report.of_steps(rollout.steps, asked), *report.of_all(whole, asked, outcome), report.of_probes(probes)]
    print("\n".join(lines))
    found = report.document(whole, outcome, probes=probes, replaced=rollout.replaced, steps=rollout.steps)
    print(f"\n  written to {figures.write('deploys', found)}")
    print(f"\ndeploys: {whole.failed} failed of {whole.requests} requests, {rollout.replaced} processes replaced, "
          f"{len(outcome.troubled)} tasks counted up, {outcome.untold + outcome.unfinished} lost")  # fmt: skip
    kept = not whole.failed and not outcome.troubled and outcome.lost_nothing and probes.complete
    return 0 if kept else 1


async def _mixed(given: argparse.Namespace) -> int:
    tell = telling.from_now()
    tell("starting an installation of its own")
    async with stage.open_stage(
        Settings(), rate=given.rate, patience=mixed.PATIENCE, dispatched_timeout=given.dispatched_timeout
    ) as staged:
        staged.load.start()
        blows = await mixed.carry_out(staged, minutes=given.minutes, seed=given.seed, tell=tell)
        tell("waiting until everything has come to its end")
        outcome = await stage.settle(staged)
        asked = staged.load.asked
    whole = report.seen(asked)
    print("\n".join([*mixed.table(blows), *report.of_all(whole, asked, outcome)]))
    found = report.document(whole, outcome, blows=blows, seed=given.seed)
    print(f"\n  written to {figures.write('mixed', found)}")
    print(f"\nmixed: availability {whole.availability:.3f} %, p95 {whole.p95:.0f} ms, errors {whole.errors:.3f} %, "
          f"{outcome.untold + outcome.unfinished} lost in {sum(blows.values())} blows (seed {given.seed})")  # fmt: skip
    kept = whole.availability >= AVAILABILITY and whole.p95 < P95 and whole.errors < ERRORS
    return 0 if kept and outcome.lost_nothing else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m bench.deploys", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, metavar="N", help="at least so many (default 10,000)")
    parser.add_argument("--rate", type=float, default=60.0, metavar="N", help="requests a second (default 60)")
    parser.add_argument("--rolls", type=int, default=5, metavar="N", help="of every process by its like (default 5)")
    parser.add_argument("--mixed", action="store_true", help="no releases: steady load while things break")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="of the mixed load (default 10)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="draws the same blows again (default 1)")
    parser.add_argument("--dispatched-timeout", type=float, default=5.0, metavar="S", help="as the setting (default 5)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench.faults`: exit status 0 when nothing was lost, doubled or overcharged, and all was tried."""

import argparse
import asyncio
import secrets
import sys
import time

from bench import telling
from bench.faults import campaign, cases, published, report, selftest
from bench.faults.campaign import Options
from bench.faults.siege import Goals
from runtime.settings import Settings


def main() -> int:
    given = _parser().parse_args()
    if given.self_test:
        return 0 if asyncio.run(selftest.run(Settings(), lambda line: print(line, flush=True))) else 1
    seed = given.seed if given.seed is not None else secrets.randbelow(1_000_000)
    own = Settings()
    print(f"seed {seed}", flush=True)
    rounds = []
    for number in range(given.rounds):
        began = time.monotonic()
        options = Options(
            seed=seed + number,
            seconds=given.seconds,
            everywhere=given.everywhere,
            failpoint=given.failpoint,
            broker=given.broker,
            deadline=None if given.reach or given.everywhere else given.deadline * 60,
            goals=Goals(jobs=given.jobs, kills=given.kills, minutes=given.minutes) if given.reach else None,
        )
        try:
            rounds.append(asyncio.run(campaign.run(own, options, telling.from_now())))
        except campaign.OverdueError as overdue:
            print(f"faults: FAILED, {overdue}")
            return 1
        seconds = time.monotonic() - began
        print(report.table(rounds[-1]), f"\n\n  {seconds:.0f} s; the same blows again: make faults SEED={options.seed}")
        if given.write:
            published.write(rounds[-1], seconds)
    print(report.verdict(rounds))
    return 0 if all(map(report.is_sound, rounds)) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m bench.faults", description=__doc__)
    parser.add_argument("--seed", type=int, metavar="N", help="draws the same blows again (default: a new one)")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="each with the next seed and a new database")
    parser.add_argument("--seconds", type=float, default=30, metavar="N", help="of random blows (default 30)")
    parser.add_argument(
        "--deadline", type=float, default=15, metavar="N", help="minutes of a round, then it fails (default 15)"
    )
    parser.add_argument("--everywhere", action="store_true", help="each failpoint in every process that has it")
    parser.add_argument("--failpoint", choices=sorted(cases.PROCESSES), help="only this one, and nothing random")
    parser.add_argument("--broker", choices=("redis", "rabbitmq"), default="redis", help="RabbitMQ: Debian's package")
    parser.add_argument("--self-test", action="store_true", help="plant five known bugs, and find them")
    reach = parser.add_argument_group("reach", "harm without end until enough was seen, instead of random blows")
    reach.add_argument("--reach", action="store_true")
    reach.add_argument("--jobs", type=int, default=Goals().jobs, metavar="N", help="accepted (default %(default)s)")
    reach.add_argument("--kills", type=int, default=Goals().kills, metavar="N", help="SIGKILLs (default %(default)s)")
    reach.add_argument("--minutes", type=float, default=Goals().minutes, metavar="N", help="at most (default 90)")
    reach.add_argument("--write", action="store_true", help="the report, into docs/reliability.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench.faults`: exit status 0 when nothing was lost, doubled or overcharged, and all was tried."""

import argparse
import asyncio
import secrets
import sys
import time

from bench.faults import campaign, cases, report
from bench.faults.campaign import Options
from runtime.settings import Settings


def main() -> int:
    given = _parser().parse_args()
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
        )
        rounds.append(asyncio.run(campaign.run(own, options, _teller(began))))
        print(report.table(rounds[-1]), f"\n\n  round of {time.monotonic() - began:.0f} s with seed {options.seed}")
    print(report.verdict(rounds))
    return 0 if all(map(report.is_sound, rounds)) else 1


def _teller(began: float) -> campaign.Tell:
    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    return tell


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--seed", type=int, metavar="N", help="draws the same blows again (default: a new one)")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="each with the next seed and a new database")
    parser.add_argument("--seconds", type=float, default=30, metavar="N", help="of random blows (default 30)")
    parser.add_argument("--everywhere", action="store_true", help="each failpoint in every process that has it")
    parser.add_argument("--failpoint", choices=sorted(cases.PROCESSES), help="only this one, and nothing random")
    parser.add_argument("--broker", choices=("redis", "rabbitmq"), default="redis", help="RabbitMQ: Debian's package")
    return parser


if __name__ == "__main__":
    sys.exit(main())

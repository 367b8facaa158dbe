"""`python -m bench`: what this machine gets out of the product; compare runs of one machine, never of two."""

import argparse
import os
import platform
import sys
import time
from pathlib import Path
from typing import Final

import uvloop

from bench import figures, goals, measure, peers, report, telling
from bench.measure import Figures
from runtime.settings import Settings

COMMAND: Final = ".venv/bin/python -m bench"
PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "performance.md"


def main() -> int:
    given = _parser().parse_args()
    found = peers.find()
    rounds = []
    for number in range(given.rounds):
        print(f"round {number + 1} of {given.rounds}", flush=True)
        rounds.append(uvloop.run(measure.one_round(Settings(), given.seconds, telling.from_now())))
    print(f"\n{report.table(rounds)}\n", flush=True)
    compared: goals.Peers = {}
    if not given.peers:
        print("  the peers were left out")
    elif isinstance(found, str):
        print(f"  {found}")
    else:
        print("  the peers' driver:", flush=True)
        compared = peers.compare(found, given.rounds, given.seconds)
        print(f"\n{peers.table(compared)}")
    reached = goals.table(goals.rows(rounds, compared))
    print(f"\n{reached}\n\n  written to {_write(given, rounds, compared)}")
    if given.document:
        figures.document(PAGE, COMMAND, f"{_machine(given.rounds)}\n\n{reached}")
    return 1 if any(each.lost for each in rounds) else 0


def _write(given: argparse.Namespace, rounds: list[Figures], compared: goals.Peers) -> Path:
    content = {
        "command": " ".join([COMMAND, *sys.argv[1:]]),
        "seconds": given.seconds,
        "goals": goals.rows(rounds, compared),
        "medians": report.medians(rounds),
        "rounds": rounds,
        "peers": compared,
    }
    return figures.write("bench", content)


def _machine(rounds: int) -> str:
    when = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{when}: medians of {rounds} rounds on {os.cpu_count()} cores, Python {platform.python_version()}."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="medians of so many; each starts afresh")
    parser.add_argument("--seconds", type=float, default=2, metavar="N", help="of each phase of load (default 2)")
    parser.add_argument("--document", action="store_true", help="write the table into docs/performance.md")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave the comparison out")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench`: what this machine gets out of the product; compare runs of one machine, never of two."""

import argparse
import os
import platform
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from bench import measure, peers, report
from bench.measure import Figures
from runtime.settings import Settings

RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    given = _parser().parse_args()
    peers_folder = peers.find()
    rounds = []
    for number in range(given.rounds):
        print(f"round {number + 1} of {given.rounds}", flush=True)
        rounds.append(uvloop.run(measure.one_round(Settings(), given.seconds, _teller(time.monotonic()))))
    print(f"\n{report.table(rounds)}\n")
    print(f"  written to {_write(rounds, given.seconds)}")
    if given.peers:
        print(f"\n{peers.compare(peers_folder, given.rounds)}")
    return 1 if any(each.lost for each in rounds) else 0


def _write(rounds: list[Figures], seconds: float) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%dT%H%M%S')}.json"
    content = {
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "seconds": seconds,
        "medians": report.medians(rounds),
        "rounds": rounds,
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    return path


def _teller(began: float) -> measure.Tell:
    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    return tell


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="medians of so many; each starts afresh")
    parser.add_argument("--seconds", type=float, default=4, metavar="N", help="of each phase of load (default 4)")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave the comparison out")
    return parser


if __name__ == "__main__":
    sys.exit(main())

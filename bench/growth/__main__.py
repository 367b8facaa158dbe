"""`python -m bench.growth`: the same steps with ten thousand and with ten million rows behind them, in one run.

The rows are written first, which takes minutes and some 2.8 GB of disk for each million; `--rows` takes fewer. Exit
status 0 when every step reached its goal.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from bench import figures, telling
from bench.growth import database, measure
from bench.telling import Tell
from runtime.services import EmbeddedServices

GOAL: Final = 1.2


class Figures(msgspec.Struct):
    """Median milliseconds of each step, with `few` and with `many` rows in each table."""

    few: int
    many: int
    filling_seconds: float
    steps: dict[str, tuple[float, float]]

    def ratios(self) -> dict[str, float]:
        return {name: many / few for name, (few, many) in self.steps.items()}

    @property
    def reached(self) -> bool:
        return max(self.ratios().values()) <= GOAL


def main() -> int:
    given = _parser().parse_args()
    found = uvloop.run(_run(given, telling.from_now()))
    print(f"\n{_table(found)}\n\n  written to {figures.write('growth', found)}")
    return 0 if found.reached else 1


async def _run(given: argparse.Namespace, tell: Tell) -> Figures:
    with tempfile.TemporaryDirectory(prefix="atelier-growth-", dir=given.folder) as folder:
        async with EmbeddedServices(Path(folder), progress=tell, redis=False) as services:
            await database.prepare(services)
            few = await database.make(services, "few", given.few, tell)
            began = time.monotonic()
            many = await database.make(services, "many", given.rows, tell)
            filling = time.monotonic() - began
            for each in (few, many):
                await database.warm(each)
            tell(f"measuring: {given.turns} turns each")
            one, other = await measure.alternate([few, many], given.turns, warm_up=2 * database.ORGANIZATIONS)
            return Figures(few.rows, many.rows, filling, {name: (one[name], other[name]) for name in one})


def _table(found: Figures) -> str:
    lines = [f"  median ms {'':<24}{found.few:>14,}{found.many:>14,}    ratio"]
    for name, (few, many) in found.steps.items():
        lines.append(f"  {name:<34}{few:>14.2f}{many:>14.2f}{many / few:>9.2f}{'' if many <= few * GOAL else ' !'}")
    worst = max(found.ratios().values())
    verdict = f"every step within {GOAL}" if found.reached else f"the worst ratio is {worst:.2f}, the goal {GOAL}"
    return "\n".join([*lines, f"\n  {verdict}; the rows were written in {found.filling_seconds:.0f} s"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m bench.growth", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, metavar="N", help="in each table (ten million)")
    parser.add_argument("--few", type=int, default=10_000, metavar="N", help="to compare with (ten thousand)")
    parser.add_argument("--turns", type=int, default=500, metavar="N", help="generations in each database (500)")
    parser.add_argument("--folder", type=Path, metavar="PATH", help="where there is room (the temporary folder)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

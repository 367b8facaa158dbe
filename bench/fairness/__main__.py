"""`python -m bench.fairness`: what one customer sees of another one's load; exit status 0 when every goal holds."""

import argparse
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import uvloop

from bench import figures, telling
from bench.fairness import patience, receivers, shares, stage, waits
from bench.fairness.stage import Stage
from bench.figures import Figure
from bench.telling import Tell
from runtime.settings import Settings

COMMAND: Final = ".venv/bin/python -m bench.fairness"
DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "fairness.md"


class Part(NamedTuple):
    """`settings` are those of its own installation that are not the default."""

    measure: Callable[[Stage], Awaitable[list[Figure]]]
    settings: Mapping[str, Any] = {}


PARTS: Final = {
    "shares": Part(shares.share),
    "light": Part(waits.light),
    "receivers": Part(receivers.healthy, {"webhook_timeout": receivers.HANG_SECONDS + 5}),
    "priorities": Part(waits.priorities),
    "cap": Part(shares.cap),
    "patience": Part(
        patience.refusals,
        {
            "organization_backlog_seconds": patience.ORGANIZATION_SECONDS,
            "backlog_seconds": patience.INSTALLATION_SECONDS,
        },
    ),
}


def main() -> int:
    given = _parser().parse_args()
    found = uvloop.run(_measure(given.part or list(PARTS), telling.from_now()))
    table = figures.markdown(found)
    print(f"\n{table}\n\nwritten to {figures.write('fairness', found)}")
    if given.document:
        figures.document(DOCUMENT, COMMAND, table)
    return 1 if figures.broken(found) else 0


async def _measure(names: list[str], tell: Tell) -> list[Figure]:
    """Each part with an installation of its own, so that none inherits a backlog."""
    found = []
    for name in names:
        part = PARTS[name]
        async with stage.opened(Settings(), tell, **part.settings) as here:
            measured = await part.measure(here)
        for figure in measured:
            tell(f"  {figure.what}: {figure.value}")
        found += measured
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be given more than once")
    parser.add_argument("--document", action="store_true", help="write the table into docs/fairness.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""A round as a part of `docs/reliability.md`."""

import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.faults import report as printed
from bench.faults.campaign import Report
from runtime import clock

PAGE: Final = Path(__file__).parents[2] / "docs/reliability.md"
BEGIN, END = "<!-- The report begins. -->\n", "<!-- The report ends. -->\n"
_LIBRARIES: Final = ("dramatiq", "asyncpg", "litestar", "redis", "typst")


def write(report: Report, seconds: float) -> None:
    """Raises ValueError when the page has no place for it."""
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n{markdown(report, seconds)}\n{END}{after}")


def markdown(report: Report, seconds: float) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in _rows(report, seconds))
    blows = ", ".join(f"{count} {name}" for name, count in sorted(report.blows.items()))
    return f"| | |\n|---|---|\n{rows}\n\nBlows: {blows}.\n\nTimes that each failpoint was hit: {_hits(report)}.\n"


def _rows(report: Report, seconds: float) -> list[tuple[str, str]]:
    kinds = Counter(breach.kind for breach in report.breaches)
    others = kinds["books"] + kinds["balance"]
    seen = report.seen
    return [
        ("when", f"{clock.machine():%Y-%m-%d}, {seconds / 60:.0f} minutes, seed {report.options.seed}"),
        ("accepted", f"**{report.accepted:,}** generations, by {report.requests:,} answers"),
        ("lost / doubled / charged twice", f"**{kinds['lost']} / {kinds['doubled']} / {kinds['overcharged']}**"),
        ("other rules broken, things not shown", f"{others}, {len(report.flaws)}"),
        ("SIGKILLs", f"**{seen.kills:,}**"),
        ("Redis wiped", str(seen.flushes)),
        ("commits whose answer was lost", str(seen.ambiguous)),
        ("ends", ", ".join(f"{count:,} {status}" for status, count in sorted(report.statuses.items()))),
        ("webhooks", f"{report.webhooks:,} delivered, {report.repeated:,} again under the same id"),
        ("kill to free again", f"{printed.spread(report.recoveries)} ({len(report.recoveries):,} tasks)"),
        ("accept to end", printed.spread(report.durations)),
        ("tasks dead", f"{sum(report.dead.values())}, of which {report.poisons} were poisoned"),
        ("at rest after", "never" if report.rested is None else f"{report.rested:.0f} s"),
        ("versions", _versions(report)),
    ]


def _versions(report: Report) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return f"Python {platform.python_version()}, {report.servers}, {libraries}"


def _hits(report: Report) -> str:
    found = Counter(hit.case.failpoint for hit in report.hits if hit.seconds is not None)
    return ", ".join(f"`{name}` {count}" for name, count in sorted(found.items()))

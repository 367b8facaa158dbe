"""A round for people: what was done, what came of it, and the verdict."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from bench.faults import cases
from bench.faults.campaign import Report

SHOWN: Final = 10
"""Offenders of one rule, and kinds of logged errors, that are printed."""


def table(report: Report) -> str:
    return "\n".join([*_hits(report), *_blows(report), *_outcome(report), *_complaints(report), *_breaches(report)])


def verdict(reports: Sequence[Report]) -> str:
    """The last line: every round together."""
    kinds = Counter(breach.kind for report in reports for breach in report.breaches)
    others = len(
        {breach.rule for report in reports for breach in report.breaches if breach.kind in {"books", "balance"}}
    )
    flaws = sum(len(report.flaws) for report in reports)
    generations = sum(report.accepted for report in reports)
    kills = sum(report.kills for report in reports)
    seeds = ", ".join(str(report.options.seed) for report in reports)
    return (
        f"faults: {kinds['lost']} lost, {kinds['doubled']} doubled, {kinds['overcharged']} charged twice"
        + (f", {others} other rules broken" if others else "")
        + (f", {flaws} things not shown" if flaws else "")
        + f" in {generations} generations, {kills} kills (seed {seeds})"
    )


def is_sound(report: Report) -> bool:
    return not report.breaches and not report.flaws


def percentile(values: Sequence[float], part: float) -> float:
    """Of sorted values; not a number when there are none."""
    return values[min(len(values) - 1, int(len(values) * part))] if values else math.nan


def _hits(report: Report) -> list[str]:
    if not report.hits:
        return []
    actions = cases.ACTIONS
    lines = [f"\n  {'failpoint':<28} {'process':<15}" + "".join(f"{action:>8}" for action in actions)]
    for name, processes in cases.PROCESSES.items():
        for process in processes:
            found = [hit for hit in report.hits if hit.case[::2] == (name, process)]
            if found:
                counts = Counter(hit.case.action for hit in found if hit.seconds is not None)
                marks = "".join(f"{counts[action] or '-':>8}" for action in actions)
                lines.append(f"  {name:<28} {process:<15}{marks}")
    return lines


def _blows(report: Report) -> list[str]:
    if not report.blows:
        return []
    fallen = [f"{count} x {name}" for name, count in sorted(report.blows.items())]
    rows = [", ".join(fallen[start : start + 4]) for start in range(0, len(fallen), 4)]
    return ["", *(f"  {'blows' if number == 0 else '':<22} {row}" for number, row in enumerate(rows))]


def _outcome(report: Report) -> list[str]:
    ends = ", ".join(f"{count} {status}" for status, count in sorted(report.statuses.items()))
    dead = ", ".join(f"{count} {actor}" for actor, count in sorted(report.dead.items())) or "none"
    recovered = f"{len(report.recoveries)} tasks, lease {report.options.lease:g} s"
    rows = (
        ("servers", report.servers),
        ("accepted", f"{report.accepted} generations, by {report.requests} answers"),
        ("their ends", ends),
        ("accept to end", spread(report.durations)),
        ("webhooks", f"{report.webhooks} delivered, {report.repeated} again under the same id"),
        ("tasks dead", f"{dead} ({report.poisons} were poisoned)"),
        ("commits unheard of", str(report.ambiguous)),
        ("leases that ran out", str(report.deaths)),
        ("woke up too late", f"{report.fenced} tasks were no longer its own by then"),
        ("kill to free again", f"{spread(report.recoveries)} ({recovered})"),
        ("at rest after", "never" if report.rested is None else f"{report.rested:.1f} s"),
    )
    return ["", *(f"  {name:<22} {value}" for name, value in rows)]


def spread(values: Sequence[float]) -> str:
    p50, p99, longest = (percentile(values, part) for part in (0.5, 0.99, 1))
    return f"p50 {p50:.2f} s, p99 {p99:.2f} s, longest {longest:.2f} s"


def _complaints(report: Report) -> list[str]:
    lines = [f"    {count:>4} x {what}" for what, count in report.complaints.most_common(SHOWN)]
    return ["\n  logged as errors", *lines] if lines else []


def _breaches(report: Report) -> list[str]:
    lines = [f"\n  NOT SHOWN: {flaw}" for flaw in report.flaws]
    rules = Counter((breach.kind, breach.rule) for breach in report.breaches)
    for (kind, rule), count in rules.items():
        lines.append(f"\n  BROKEN ({kind}): {rule}: {count}")
        offenders = [breach.offender for breach in report.breaches if breach.rule == rule]
        lines += [f"    {offender}" for offender in offenders[:SHOWN]]
    return lines

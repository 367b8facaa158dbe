"""What customers saw of it, for people and for programs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from bench.deploys.load import Asked
from bench.deploys.rollout import Probes, Step
from bench.deploys.stage import Outcome
from bench.load import percentile

SHOWN: Final = 10


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Of all requests. Times in milliseconds, from when a request was due to its (last) answer."""

    requests: int
    failed: int
    tries: int
    failed_tries: int
    seconds: float
    p50: float
    p95: float
    p99: float
    longest: float

    @property
    def availability(self) -> float:
        """Percent of the requests that succeeded, within a customer's patience."""
        return 100.0 * (1 - self.failed / self.requests) if self.requests else 0.0

    @property
    def errors(self) -> float:
        """Percent of the tries that failed."""
        return 100.0 * self.failed_tries / self.tries if self.tries else 0.0


def seen(asked: Sequence[Asked]) -> Seen:
    times = sorted(each.seconds for each in asked)
    return Seen(
        requests=len(asked),
        failed=sum(each.failed for each in asked),
        tries=sum(len(each.tries) for each in asked),
        failed_tries=sum(tried.failed for each in asked for tried in each.tries),
        seconds=max((each.at + each.seconds for each in asked), default=0.0),
        p50=percentile(times, 0.5),
        p95=percentile(times, 0.95),
        p99=percentile(times, 0.99),
        longest=percentile(times, 1),
    )


def failures(asked: Sequence[Asked]) -> Counter[str]:
    """Failed tries by what was asked and how it ended."""
    return Counter(
        f"{each.what}: {tried.status or tried.reason}" for each in asked for tried in each.tries if tried.failed
    )


def of_steps(steps: Sequence[Step], asked: Sequence[Asked]) -> Iterator[str]:
    yield f"\n  {'step':<58}{'requests':>9}{'failed':>8}{'p95 ms':>8}{'longest':>9}"
    ends = [step.asked for step in steps[1:]] + [len(asked)]
    for step, end in zip(steps, ends, strict=True):
        part = seen(asked[step.asked : end])
        yield f"  {step.name:<58}{part.requests:>9}{part.failed:>8}{part.p95:>8.0f}{part.longest:>9.0f}"


def of_all(whole: Seen, asked: Sequence[Asked], outcome: Outcome) -> Iterator[str]:
    yield ""
    rows = {
        "requests": f"{whole.requests} in {whole.seconds:.0f} s, {whole.failed} failed",
        "tries": f"{whole.tries}, {whole.failed_tries} failed",
        "answered after": f"p50 {whole.p50:.0f}, p95 {whole.p95:.0f}, p99 {whole.p99:.0f}, "
        f"longest {whole.longest:.0f} ms",
        "generations": f"{outcome.generations}, {outcome.unfinished} without an image, "
        f"{outcome.untold} without a webhook",
        "tasks": f"{outcome.dead} dead, {len(outcome.troubled)} with a failed try or a dead worker, "
        f"{outcome.set_aside} events set aside" + ("" if outcome.rested else ", some still open"),
        "rules broken": str(len(outcome.breaches)),
    }
    for name, value in rows.items():
        yield f"  {name:<22} {value}"
    yield from (f"    {count:>4} x {what}" for what, count in failures(asked).most_common(SHOWN))
    yield from (f"    {what}" for what in [*outcome.troubled[:SHOWN], *map(str, outcome.breaches[:SHOWN])])


def of_probes(probes: Probes) -> str:
    return (
        f"  {'only the new one knows':<22} {probes.appended} facts, {probes.done} tasks of theirs done, "
        f"{probes.noted} noted"
    )


def document(whole: Seen, outcome: Outcome, **more: Any) -> dict[str, Any]:
    return {"seen": whole, "availability": whole.availability, "errors": whole.errors, "outcome": outcome, **more}

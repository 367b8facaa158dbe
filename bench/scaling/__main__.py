"""`python -m bench.scaling`: 1, 2 and 4 worker hosts on one PostgreSQL and one broker, one of them cut off in the
middle. As root on Linux with iproute2; exit status 0 when work spreads and nothing is lost.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import uvloop

from bench import figures, telling
from bench.figures import Figure
from bench.rabbitmq_server import MissingPackageError
from bench.scaling import network, trial
from bench.scaling.network import Network, NetworkMissingError
from bench.scaling.trial import Trial
from bench.telling import Tell
from runtime.settings import Settings

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "scaling.md"
COMMAND: Final = ".venv/bin/python -m bench.scaling"
LEFT_OUT: Final = 2
"""Exit status where this machine has no network or no broker for it."""


class Options(NamedTuple):
    """Seconds of load before and after the cut, and of the cut; `lease` is `ATELIER_LEASE_SECONDS`. `timed`: whether
    it is judged by how quick and how even it was, which seconds on a busy machine say nothing of.
    """

    hosts: Sequence[int]
    brokers: Sequence[str]
    seconds: float
    cut: float
    lease: float
    timed: bool = True


SHORT: Final = Options(hosts=(2,), brokers=("redis",), seconds=3, cut=6, lease=3, timed=False)


def main() -> int:
    given = _parser().parse_args()
    options = SHORT if given.short else _options(given)
    try:
        with network.own() as net:
            trials = list(_trials(options, net, telling.from_now()))
    except (NetworkMissingError, MissingPackageError) as missing:
        print(f"left out: {missing}", file=sys.stderr)
        return LEFT_OUT
    found = [figure for broker, done in trials for figure in _figures(broker, done, options)]
    table = figures.markdown(found)
    print(f"\n{table}\n")
    if not given.short:
        print(f"written to {figures.write('scaling', trials)}")
    if given.document:
        figures.document(DOCUMENT, COMMAND, table)
    return 1 if figures.broken(found) else 0


def _trials(options: Options, net: Network, tell: Tell) -> Iterator[tuple[str, Trial]]:
    for broker in options.brokers:
        settings = msgspec.structs.replace(Settings(), broker=broker, lease_seconds=options.lease)
        for count in options.hosts:
            cut = options.cut if count > 1 else 0
            yield broker, uvloop.run(trial.run(settings, net, count, options.seconds, cut, tell))


def _figures(broker: str, done: Trial, options: Options) -> Iterator[Figure]:
    hosts = f"{done.hosts} worker host{'s' if done.hosts > 1 else ''}, {broker}"
    yield Figure(f"{hosts}: images by host", _by_host(done.images))
    yield Figure("  deliveries by host", _by_host(done.deliveries))
    yield figures.at_least("  hosts that made images", done.at_work, done.hosts)
    yield figures.at_least("  workers whose metrics are read over the network", done.metrics, 2 * done.hosts)
    for each in _timed(done, options.lease):
        yield each if options.timed else msgspec.structs.replace(each, goal="", holds=None)
    broken = f"{len(done.breaches)} of {done.accepted:,} accepted"
    yield Figure("  lost, doubled, charged twice or otherwise wrong", broken, "0", not done.breaches)


def _timed(done: Trial, lease: float) -> Iterator[Figure]:
    if done.hosts > 1:
        yield figures.at_least("  images of the least busy host, of an even share", done.evenness, 0.5)
    if cut := done.cut:
        yield figures.plain("  tasks in hand of the host with the leading relay when it is cut off", cut.held)
        yield figures.at_most(
            f"  until they are free for other hosts (a lease is {lease:g} s)", cut.free, lease + 5, "s"
        )
        yield figures.at_most("  longest pause in which no host began a task", cut.pause, 10, "s")
        yield figures.plain("  from the mended link to its first task", cut.back, "s")


def _by_host(counted: dict[str, int]) -> str:
    return " / ".join(f"{count:,}" for count in counted.values())


def _options(given: argparse.Namespace) -> Options:
    brokers = given.broker or ["redis"]
    return Options(given.hosts, brokers, given.seconds, given.cut, Settings().lease_seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 2, 4], metavar="N", help="default 1 2 4")
    parser.add_argument("--broker", action="append", choices=("redis", "rabbitmq"), help="may be given twice")
    parser.add_argument("--seconds", type=float, default=10, metavar="N", help="of load before and after the cut")
    parser.add_argument("--cut", type=float, default=20, metavar="N", help="seconds without a link (default 20)")
    parser.add_argument("--short", action="store_true", help="two hosts, a lease of 3 s, nothing written")
    parser.add_argument("--document", action="store_true", help="write the table into docs/scaling.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())

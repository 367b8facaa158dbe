"""Each failpoint that has a meaning stands at one place in the code, and no place has another name."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from bench.faults import cases
from runtime import failpoints
from tests.architecture.source import PRODUCT, Source, dotted, files, snippet


def places(source: Source) -> Iterator[str]:
    """The names of the failpoints in it; what is no literal by its text."""
    for call in source.calls():
        if dotted(call.func) == "failpoints.hit":
            name = call.args[0]
            yield str(name.value) if isinstance(name, ast.Constant) else ast.unparse(name)


def misplaced(sources: Iterable[Source]) -> set[str]:
    """Names that do not stand at exactly one place, or whose meaning nobody has written down."""
    found = Counter(name for source in sources for name in places(source))
    return {name for name in failpoints.MEANINGS.keys() | found.keys() if found[name] != 1} | (
        found.keys() - failpoints.MEANINGS.keys()
    )


def test_each_failpoint_has_one_place_and_each_place_a_meaning() -> None:
    assert misplaced(source for package in (*PRODUCT, "migrations") for source in files(package)) == set()


def test_each_failpoint_is_hit_by_the_fault_harness() -> None:
    assert cases.PROCESSES.keys() == failpoints.MEANINGS.keys()


def test_what_nothing_reaches_over_rabbitmq_is_no_case_there() -> None:
    over_redis, over_rabbitmq = (
        {case.failpoint for case in cases.cases(1, broker=broker)} for broker in ("redis", "rabbitmq")
    )
    assert over_redis == failpoints.MEANINGS.keys()
    assert over_redis - over_rabbitmq == {"api.before_carry_on"}


@pytest.mark.parametrize(
    "text", ["failpoints.hit('relay.after_lunch')", "failpoints.hit('relay.after_commit')\n" * 2, "failpoints.hit(x)"]
)
def test_a_place_that_is_not_known_or_stands_twice_is_named(text: str) -> None:
    everywhere = "\n".join(f"failpoints.hit({name!r})" for name in failpoints.MEANINGS)
    assert misplaced([snippet(everywhere)]) == set()
    assert misplaced([snippet(everywhere), snippet(text)])

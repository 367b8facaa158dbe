"""Facts: named `noun.verb`, kept readable by stored examples, and free of anything that must not be logged."""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

import msgspec
import pytest

import domain
from domain.events import base

FORBIDDEN_FIELDS = {"prompt", "input", "text", "message", "body", "address", "email", "url", "secret", "token", "name"}


def facts() -> list[type[base.Event]]:
    """Every event class of the domain."""
    for module in pkgutil.walk_packages(domain.__path__, "domain."):
        if module.name.rpartition(".")[2] == "events":
            importlib.import_module(module.name)
    ours = (kind for kind in base.Event.__subclasses__() if kind.__module__.startswith("domain."))
    return sorted(ours, key=lambda kind: kind.type)


def names_that_are_no_facts(kinds: Iterable[type[base.Event]]) -> Iterator[str]:
    for kind in kinds:
        if not re.fullmatch(r"[a-z]+(?:_[a-z]+)*\.[a-z]+(?:_[a-z]+)*", kind.type):
            yield f"{kind.__name__}: {kind.type!r} is not `noun.verb`"


def names_given_twice(kinds: Iterable[type[base.Event]]) -> list[str]:
    names = [kind.type for kind in kinds]
    return sorted({name for name in names if names.count(name) > 1})


def unreadable_examples(kinds: Iterable[type[base.Event]]) -> Iterator[str]:
    """The current version and the one before must be readable by the present code."""
    for kind in kinds:
        for version in range(max(1, kind.version - 1), kind.version + 1):
            if version not in kind.examples:
                yield f"{kind.type}: no stored example of version {version}"
                continue
            try:
                msgspec.convert({**kind.examples[version], "subject": "gen_1"}, kind)
            except msgspec.ValidationError as error:
                yield f"{kind.type} version {version}: {error}"


def fields_that_must_not_be_logged(kinds: Iterable[type[base.Event]]) -> list[str]:
    return [f"{kind.type}.{name}" for kind in kinds for name in kind.__struct_fields__ if name in FORBIDDEN_FIELDS]


@pytest.mark.parametrize(
    "rule", [names_that_are_no_facts, names_given_twice, unreadable_examples, fields_that_must_not_be_logged]
)
def test_every_event_keeps_to_it(rule):
    assert list(rule(facts())) == []


def test_each_rule_names_what_breaks_it(monkeypatch):
    monkeypatch.setattr(base, "REGISTRY", {})

    class Misnamed(base.Event, frozen=True, kw_only=True):
        type = "Generation.Succeeded"
        version = 2
        examples: ClassVar = {1: {}, 2: {"prompt": 7}}

        prompt: str

    assert list(names_that_are_no_facts([Misnamed])) == ["Misnamed: 'Generation.Succeeded' is not `noun.verb`"]
    assert names_given_twice([Misnamed, Misnamed]) == ["Generation.Succeeded"]
    assert len(list(unreadable_examples([Misnamed]))) == 2
    assert fields_that_must_not_be_logged([Misnamed]) == ["Generation.Succeeded.prompt"]

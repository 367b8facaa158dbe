"""Every event class takes every example that was ever stored of it."""

import re

import pytest

from domain.events import base
from workers import reactions

CLASSES = sorted(reactions.REACTIONS, key=lambda event: event.type)


@pytest.mark.parametrize("event", CLASSES, ids=lambda event: event.type)
def test_stored_examples_of_the_present_and_the_previous_version_are_read(event: type[base.Event]) -> None:
    assert event.version in event.examples
    for version in (event.version, event.version - 1):
        if version in event.examples:
            read = base.read(event.type, "gen_01jd3v6t2cf5a9x0kqzr8m4n7p", event.examples[version])
            assert isinstance(read, event)


@pytest.mark.parametrize("event", CLASSES, ids=lambda event: event.type)
def test_what_is_stored_of_an_event_is_read_back_as_the_same_event(event: type[base.Event]) -> None:
    made = base.read(event.type, "gen_01jd3v6t2cf5a9x0kqzr8m4n7p", event.examples[event.version])
    assert base.read(event.type, made.subject, made.data()) == made


def test_types_are_a_noun_and_a_verb() -> None:
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", event.type) for event in CLASSES)


def test_a_type_that_this_code_does_not_know_is_an_error() -> None:
    with pytest.raises(KeyError):
        base.read("image.upscaled", "gen_x", {})

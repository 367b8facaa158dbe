"""If-Match names revisions, strongly, or says that any will do."""

import pytest

from api import revisions


@pytest.mark.parametrize("header", [None, "*", " * "])
def test_any_revision_will_do(header: str | None) -> None:
    assert revisions.named(header) is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"3"', {3}),
        ('"3", "4"', {3, 4}),
        ('"3","x","12"', {3, 12}),
        ('W/"3"', set()),
        ('W/"3", "5"', {5}),
        ('"٣"', set()),
        ("3", set()),
        ("", set()),
        ('""', set()),
    ],
)
def test_only_strong_tags_of_numbers_match(header: str, expected: set[int]) -> None:
    assert revisions.named(header) == expected


def test_a_tag_names_its_own_revision() -> None:
    assert revisions.named(revisions.tag(7)) == {7}

"""Tables for people."""

import pytest

from cli import tables


def test_columns_stand_under_their_heads_and_the_last_is_cut_off():
    shown = tables.text(("ID", "WHY"), [(1, "short"), (12345, "a long\nstory " * 10)], width=40)
    assert shown.splitlines() == [
        "ID     WHY",
        "1      short",
        "12345  a long story a long story a long…",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"), [(-1, "0 s"), (0.4, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (200_000, "2 d")]
)
def test_a_duration_is_said_in_its_largest_unit(seconds, said):
    assert tables.duration(seconds) == said

"""The Prefer header."""

import pytest

from api import waiting


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("wait=10", 10),
        ("Wait = 10", 10),
        ('respond-async, wait="5"', 5),
        ("wait=5; x=1", 5),
        ("wait=3600", 60),
        ("return=minimal", 0),
        ("await=10", 0),
        ("wait=1.5", 0),
        ("wait=-1", 0),
        ("wait=soon", 0),
    ],
)
def test_only_a_whole_number_of_seconds_is_waited_for(header, seconds):
    assert waiting.preferred(header) == seconds

"""How the operator's pages say durations and sizes, and whom they name."""

import pytest

from api.operator import rendering, trail


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (None, ""),
        (0, "0.0 ms"),
        (8.34, "8.3 ms"),
        (9.96, "10 ms"),
        (999.4, "999 ms"),
        (999.6, "1.00 s"),
        (4_214, "4.21 s"),
        (59_990, "60.0 s"),
        (59_996, "1 min 0 s"),
        (252_000, "4 min 12 s"),
        (11_100_000, "3 h 5 min"),
        (187_200_000, "2 d 4 h"),
        (-12, "−12 ms"),
    ],
)
def test_a_duration_is_said_in_the_unit_that_fits(ms, said):
    assert rendering.duration(ms) == said


@pytest.mark.parametrize(
    ("count", "said"), [(482, "482 bytes"), (999_949, "999.9 KB"), (999_950, "1.0 MB"), (1_440_000, "1.4 MB")]
)
def test_a_size_is_said_in_decimal_units(count, said):
    assert rendering.size(count) == said


@pytest.mark.parametrize(
    ("address", "shown"), [("ada@example.com", "a•••@example.com"), ("@example.com", "•••@example.com"), ("ada", "•••")]
)
def test_an_address_can_be_known_again_but_not_read(address, shown):
    assert trail.mask(address) == shown

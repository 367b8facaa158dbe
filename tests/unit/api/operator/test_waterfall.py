"""The scale of the trail's picture: even where something is done, short where nothing is."""

import pytest

from api.operator.waterfall import Scale


def test_without_pauses_it_is_even():
    scale = Scale([(0, 40), (40, 100), (10, 30)])
    assert [scale.at(ms) for ms in (0, 25, 50, 100)] == [0, 25, 50, 100]
    assert scale.cuts() == []


def test_a_short_pause_is_drawn_as_long_as_it_was():
    scale = Scale([(0, 500), (700, 1000)])
    assert (scale.at(600), scale.cuts()) == (60, [])


def test_a_long_pause_is_cut_short_and_the_rest_stays_even():
    scale = Scale([(0, 50), (3_600_000, 3_600_045)])
    assert scale.at(50) == pytest.approx(50)
    assert scale.cuts() == [(pytest.approx(50), 5, 3_599_950)]
    assert scale.at(1_800_025) == pytest.approx(52.5)
    assert scale.at(3_600_000) == pytest.approx(55)
    assert scale.at(3_600_045) == pytest.approx(100)


def test_many_pauses_leave_room_for_what_was_done():
    scale = Scale([(n * 3_600_000, n * 3_600_000 + 10) for n in range(21)])
    assert sum(width for _, width, _ in scale.cuts()) == pytest.approx(40)
    assert scale.at(20 * 3_600_000 + 10) == pytest.approx(100)


def test_nothing_lies_outside():
    scale = Scale([(0, 0)])
    assert [scale.at(ms) for ms in (-5, 0, 5)] == [0, 0, 100]
    scale = Scale([(-2, 100)])
    assert (scale.at(-2), scale.at(1_000)) == (0, 100)


def test_ticks_are_round_and_leave_room_for_their_labels():
    scale = Scale([(0, 87), (60_000, 60_031.5)])
    ticks = [(tick.ms, round(tick.x)) for tick in scale.ticks()]
    assert ticks == [(0, 0), (50, 40), (60_000, 75)]


def test_equal_moments_have_one_tick():
    assert [tick.ms for tick in Scale([(0, 0), (0, 0)]).ticks()] == [0]

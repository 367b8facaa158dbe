from datetime import UTC, datetime, timedelta, timezone

import pytest

from runtime import clock


@pytest.fixture(autouse=True)
def _no_offset_is_left_behind():
    yield
    clock.set_offset(timedelta())


def test_both_clocks_speak_utc():
    assert clock.machine().tzinfo is UTC
    assert clock.product().tzinfo is UTC


def test_without_an_offset_the_clocks_agree():
    before, product, after = clock.machine(), clock.product(), clock.machine()
    assert before <= product <= after


def test_a_month_can_pass_in_the_product_s_time_alone():
    clock.set_offset(timedelta(days=31))
    assert clock.product() - clock.machine() > timedelta(days=30, hours=23)
    assert abs(clock.machine() - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 11, 20, 8, 30, 0, 125_999, tzinfo=UTC), "2026-11-20T08:30:00.125Z"),
        (datetime(2026, 11, 20, 8, 30, tzinfo=UTC), "2026-11-20T08:30:00.000Z"),
        (datetime(2026, 11, 20, 10, 30, tzinfo=timezone(timedelta(hours=2))), "2026-11-20T08:30:00.000Z"),
        (datetime(2026, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=5, minutes=30))), "2025-12-31T19:30:00.000Z"),
    ],
)
def test_a_moment_is_written_in_utc_with_milliseconds(moment, written):
    assert clock.rfc3339(moment) == written

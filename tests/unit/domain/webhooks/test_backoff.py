"""Ten attempts over three days, spread out, and later where the receiver asks."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.webhooks import backoff

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def wait(attempts_done: int, *, delivery_id: str = "dlv_1", **asked: object) -> timedelta:
    at = backoff.next_attempt(attempts_done, NOW, delivery_id=delivery_id, **asked)
    assert at
    return at - NOW


def test_the_schedule_is_the_specifications() -> None:
    hours = [moment / timedelta(hours=1) for moment in backoff.SCHEDULE]
    assert hours[2:] == [5 / 60, 0.5, 2, 5, 10, 14, 20, 24]
    assert sum(backoff.SCHEDULE, timedelta()) == timedelta(hours=75, minutes=35, seconds=5)


def test_the_first_attempt_is_at_once_and_the_tenth_is_the_last() -> None:
    assert wait(0) == timedelta()
    assert wait(9)
    assert backoff.next_attempt(10, NOW, delivery_id="dlv_1") is None
    assert backoff.next_attempt(10, NOW, delivery_id="dlv_1", retry_after=timedelta(hours=1), throttled=True) is None


@settings(deadline=None)
@given(st.integers(1, 9), st.text())
def test_jitter_stays_within_a_fifth_and_is_the_same_each_time(attempts_done: int, delivery_id: str) -> None:
    planned = backoff.SCHEDULE[attempts_done]
    drawn = wait(attempts_done, delivery_id=delivery_id)
    assert 0.8 * planned <= drawn <= 1.2 * planned
    assert drawn == wait(attempts_done, delivery_id=delivery_id)


def test_deliveries_that_failed_together_do_not_come_back_together() -> None:
    waits = sorted(wait(2, delivery_id=f"dlv_{number}") for number in range(1000))
    assert waits[100] < timedelta(minutes=4.3)
    assert waits[900] > timedelta(minutes=5.7)
    assert len(set(waits)) == 1000


@settings(deadline=None)
@given(st.integers(1, 9), st.timedeltas(timedelta(0), timedelta(days=4000)), st.text(), st.booleans())
def test_retry_after_is_kept_but_never_shortens_or_stretches_the_schedule_without_end(
    attempts_done: int, asked: timedelta, delivery_id: str, throttled: bool
) -> None:
    planned = backoff.SCHEDULE[attempts_done]
    drawn = wait(attempts_done, delivery_id=delivery_id, retry_after=asked, throttled=throttled)
    longest = max(2 * planned, timedelta(hours=1))
    assert drawn >= max(0.8 * planned, min(asked, longest))
    assert drawn <= 1.2 * longest
    if throttled:
        assert drawn >= timedelta(seconds=60)


def test_a_throttling_receiver_gets_a_minute_of_rest_and_what_it_asks_for() -> None:
    assert timedelta(seconds=60) <= wait(1, throttled=True) <= timedelta(seconds=72)
    assert timedelta(minutes=20) <= wait(1, throttled=True, retry_after=timedelta(minutes=20)) <= timedelta(minutes=24)
    assert wait(2, throttled=True) == wait(2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", timedelta(seconds=120)),
        (" 0 ", timedelta()),
        (format_datetime(NOW + timedelta(minutes=7), usegmt=True), timedelta(minutes=7)),
        ("Friday, 20-Nov-26 12:00:30 GMT", timedelta(seconds=30)),
        ("Fri Nov 20 12:00:30 2026", timedelta(seconds=30)),
        (format_datetime(NOW - timedelta(minutes=7), usegmt=True), None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣٠", None),
        ("Fri, 99 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_in_each_form_of_an_http_date(
    value: str, expected: timedelta | None
) -> None:
    assert backoff.parse_retry_after(value, NOW) == expected


@settings(deadline=None)
@given(st.text() | st.from_regex(r"\d+") | st.text("0123456789:, GMTFriNov-+"))
def test_no_retry_after_can_break_the_schedule(value: str) -> None:
    asked = backoff.parse_retry_after(value, NOW)
    assert wait(1, retry_after=asked) <= timedelta(hours=1.2)

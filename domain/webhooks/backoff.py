"""When a delivery is tried again: the schedule that Standard Webhooks 1.0.0 gives, with jitter and Retry-After."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

SCHEDULE: Sequence[timedelta] = (
    timedelta(),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""The wait before each attempt, from the end of the one before; the tenth is the last, three days after the first."""

JITTER = 0.2
THROTTLED_WAIT = timedelta(seconds=60)
"""The least wait after 429, 502 and 504, by which a receiver says that it has too much to do."""

LONGEST_ASKED_WAIT = timedelta(hours=1)
"""A Retry-After is kept up to here, or to twice the planned wait where that is longer: a receiver may ask for rest,
not put the last attempt off for years."""


def next_attempt(
    attempts_done: int,
    now: datetime,
    *,
    delivery_id: str,
    retry_after: timedelta | None = None,
    throttled: bool = False,
) -> datetime | None:
    """None after the last attempt. The same arguments give the same answer: jitter is drawn from the delivery's id
    and the attempt's number. What a receiver asked for is never cut short by jitter, only spread after it.
    """
    if attempts_done >= len(SCHEDULE):
        return None
    planned = SCHEDULE[attempts_done]
    spread = _draw(delivery_id, attempts_done)  # 0 to 1
    wait = planned * (1 - JITTER + 2 * JITTER * spread)
    asked = min(retry_after or timedelta(), max(2 * planned, LONGEST_ASKED_WAIT))
    least = max(asked, THROTTLED_WAIT if throttled else timedelta())
    return now + max(wait, least * (1 + JITTER * spread))


def parse_retry_after(value: str, now: datetime) -> timedelta | None:
    """RFC 9110 §10.2.3, seconds or an HTTP date; None for anything else, and for what is past already."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=int(text[:9]))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    return wait if wait > timedelta() else None


def _draw(delivery_id: str, attempt: int) -> float:
    digest = hashlib.blake2b(f"{delivery_id}:{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64

"""Two clocks. `machine` times leases, retries, signatures and tokens; `product` times what customers see move:
periods, expiries, `run_at`. The product clock may be set ahead (its offset is kept in the database), so that an
operator can watch a month pass in a minute; the machine clock never is.
"""

from datetime import UTC, datetime, timedelta

_offset = timedelta()


def machine() -> datetime:
    return datetime.now(UTC)


def product() -> datetime:
    return datetime.now(UTC) + _offset


def set_offset(offset: timedelta) -> None:
    """Takes the offset read from the database (`product_clock`); processes read it at start and on change."""
    global _offset
    _offset = offset


def rfc3339(moment: datetime) -> str:
    """UTC with milliseconds and `Z`, for example `2026-11-20T08:30:00.125Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

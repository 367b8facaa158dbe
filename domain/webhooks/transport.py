"""One HTTP attempt of one delivery, and what its answer means. Sees the outbound client and no database."""

import enum
import time
from collections.abc import Mapping
from datetime import timedelta

import msgspec

from domain.webhooks import backoff
from runtime import clock, outbound
from runtime.version import VERSION

USER_AGENT = f"Atelier-Webhooks/{VERSION}"
MAX_RESPONSE_BYTES = 16 * 1024

THROTTLED = frozenset({429, 502, 504})
GONE = 410


class Outcome(enum.StrEnum):
    DELIVERED = "delivered"
    RETRY = "retry"
    DISABLE = "disable"
    """The receiver said 410: the endpoint is to be disabled, and nothing more is sent to it."""
    SNOOZE = "snooze"
    """Nothing was sent, as the host has too many open attempts; it counts as no attempt."""


class AttemptResult(msgspec.Struct, frozen=True):
    """`status_code` is None and `error` a stable code where no HTTP answer came. `response_body` is text that
    PostgreSQL can hold, at most MAX_RESPONSE_BYTES of UTF-8. `throttled` and `retry_after` are for `backoff`.
    """

    outcome: Outcome
    status_code: int | None = None
    response_body: str = ""
    duration_ms: int = 0
    error: str | None = None
    throttled: bool = False
    retry_after: timedelta | None = None


async def send(
    client: outbound.Outbound, *, url: str, headers: Mapping[str, str], body: bytes, timeout: float
) -> AttemptResult:
    """`headers` brings the signature and `traceparent`. Raises nothing for what a receiver or a network may do."""
    started = time.perf_counter()
    own = {"content-type": "application/json", "user-agent": USER_AGENT}
    try:
        response = await client.request(
            "POST", url, headers=own | dict(headers), body=body, timeout=timeout, max_bytes=MAX_RESPONSE_BYTES
        )
    except outbound.HostBusyError as error:
        return AttemptResult(outcome=Outcome.SNOOZE, error=error.code)
    except outbound.OutboundError as error:
        elapsed = round((time.perf_counter() - started) * 1000)
        return AttemptResult(outcome=Outcome.RETRY, duration_ms=elapsed, error=error.code)
    return AttemptResult(
        outcome=_outcome(response.status),
        status_code=response.status,
        response_body=_text(response.body),
        duration_ms=response.duration_ms,
        throttled=response.status in THROTTLED,
        retry_after=_retry_after(response),
    )


def _outcome(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome.DELIVERED
    return Outcome.DISABLE if status == GONE else Outcome.RETRY


def _retry_after(response: outbound.OutboundResponse) -> timedelta | None:
    value = response.headers.get("Retry-After")
    return backoff.parse_retry_after(value, clock.machine()) if value else None


def _text(body: bytes) -> str:
    """Bytes that are not UTF-8, and NUL, which PostgreSQL's text refuses, become U+FFFD; then it is cut to size."""
    text = body.decode("utf-8", "replace").replace("\0", "\ufffd")
    return text.encode()[:MAX_RESPONSE_BYTES].decode("utf-8", "ignore")

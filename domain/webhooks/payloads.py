"""The body of a webhook, after Standard Webhooks 1.0.0: `type`, `timestamp` of the event, and `data`."""

from datetime import datetime
from typing import Any

import msgspec

from domain.events.base import Event
from runtime import clock


class Payload(msgspec.Struct, frozen=True):
    type: str
    timestamp: str
    data: dict[str, Any]


def build(event: Event, occurred_at: datetime, data: dict[str, Any]) -> bytes:
    """Called once for a delivery: what is signed and sent are these bytes, at every attempt."""
    return msgspec.json.encode(Payload(event.type, clock.rfc3339(occurred_at), data))

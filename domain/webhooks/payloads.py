"""The body of a webhook, after Standard Webhooks 1.0.0: `type`, `timestamp` of the event, and `data`."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec

from domain.events.base import Event
from runtime import clock
from runtime.database import Reader

Describe = Callable[[Reader, Event], Awaitable[dict[str, Any]]]
"""How the thing that an event speaks of looks from outside, as the API would answer it."""


class Payload(msgspec.Struct, frozen=True):
    type: str
    timestamp: str
    data: dict[str, Any]


def build(event: Event, occurred_at: datetime, data: dict[str, Any]) -> bytes:
    """Called once for a delivery: what is signed and sent are these bytes, at every attempt."""
    return msgspec.json.encode(Payload(event.type, clock.rfc3339(occurred_at), data))


def of_endpoint(event: Event) -> dict[str, Any]:
    """`data` for events about endpoints: the id and what the event holds, never the address or a secret."""
    return {"id": event.subject, **event.data()}

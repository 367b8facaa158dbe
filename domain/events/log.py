"""Appending to the log, in the transaction that made the fact true."""

import msgspec
from sqlalchemy import insert

from domain.events.base import Event
from domain.events.models import EventRow, PendingEvent
from runtime import ids
from runtime.database import Transaction


class Cause(msgspec.Struct, frozen=True):
    """Where a fact comes from: the chain it belongs to, the event before it, and the W3C trace it is part of."""

    correlation_id: str
    causation_id: str | None = None
    traceparent: str | None = None


async def append(tx: Transaction, organization: str, *events: Event, cause: Cause | None = None) -> list[str]:
    """The new events' ids. Without a cause an event begins a chain of its own, named for its subject."""
    rows = [_row(organization, event, cause or Cause(event.subject)) for event in events]
    await tx.execute(insert(EventRow), rows)
    await tx.execute(
        insert(PendingEvent),
        [{"event_id": row["id"], "organization_id": organization, "type": row["type"]} for row in rows],
    )
    return [str(row["id"]) for row in rows]


def _row(organization: str, event: Event, cause: Cause) -> dict[str, object]:
    return {
        "organization_id": organization,
        "id": ids.new("evt"),
        "type": event.type,
        "version": event.version,
        "subject": event.subject,
        "correlation_id": cause.correlation_id,
        "causation_id": cause.causation_id,
        "traceparent": cause.traceparent,
        "data": event.data(),
    }

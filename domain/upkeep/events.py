"""Facts about time: something that is done by the clock has come due. They belong to org_system; their subject is the
schedule with its tick.
"""

from domain.events.base import Event


class SweepDue(Event, frozen=True, kw_only=True):
    """Ended tasks and old answers to Idempotency-Keys are to be deleted."""

    type = "sweep.came_due"
    examples = {1: {"tick": "2026-11-20T09:05:00.000Z"}}
    public = False

    tick: str


class RetentionDue(Event, frozen=True, kw_only=True):
    """Events and deliveries that have been kept for long enough are to be deleted."""

    type = "retention.came_due"
    examples = {1: {"tick": "2026-11-20T03:30:00.000Z"}}
    public = False

    tick: str


class CollectionDue(Event, frozen=True, kw_only=True):
    """Objects in the store that nothing refers to are to be deleted."""

    type = "collection.came_due"
    examples = {1: {"tick": "2026-11-20T04:45:00.000Z"}}
    public = False

    tick: str


class StorageCheckDue(Event, frozen=True, kw_only=True):
    """It is to be looked whether the store works and has what it should have."""

    type = "storage_check.came_due"
    examples = {1: {"tick": "2026-11-20T09:17:00.000Z"}}
    public = False

    tick: str

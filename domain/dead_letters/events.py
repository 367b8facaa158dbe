"""Facts about bulk operations. They belong to org_system; their subject is the operation."""

from domain.events.base import Event


class BulkOperationStarted(Event, frozen=True, kw_only=True):
    """An operator wants something done with all the dead letters that fit a filter."""

    type = "bulk_operation.started"
    examples = {1: {"action": "replay", "matched": 1200}}
    public = False

    action: str
    matched: int


class BulkOperationAdvanced(Event, frozen=True, kw_only=True):
    """A slice of it is done, or it is taken up again; there is more to do."""

    type = "bulk_operation.advanced"
    examples = {1: {"position": 4711}}
    public = False

    position: int


class BulkOperationEnded(Event, frozen=True, kw_only=True):
    """It went through all its letters, was cancelled, or failed."""

    type = "bulk_operation.ended"
    examples = {1: {"status": "completed"}}
    public = False

    status: str

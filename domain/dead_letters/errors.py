"""Refusals about bulk operations."""

from domain.errors import Conflict, NotFound


class BulkOperationNotFound(NotFound):
    """There is no such bulk operation."""

    code = "bulk_operation_not_found"


class BulkOperationOver(Conflict):
    """The bulk operation has ended."""

    code = "bulk_operation_over"

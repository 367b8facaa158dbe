"""Refusals about tasks that wait for a person."""

from domain.errors import Conflict, NotFound


class DeadLetterNotFound(NotFound):
    """There is no such dead task."""

    code = "dead_letter_not_found"


class SetAsideEventNotFound(NotFound):
    """There is no such event set aside."""

    code = "set_aside_event_not_found"


class ExpansionFailed(Conflict):
    """The event cannot be turned into tasks."""

    code = "expansion_failed"


class DeadLetterNotReplayable(Conflict):
    """This dead task cannot be replayed here."""

    code = "dead_letter_not_replayable"

"""Refusals about generations."""

from domain.errors import Conflict, Invalid, NotFound, RateLimited, Unavailable


class GenerationNotFound(NotFound):
    """There is no such generation here."""

    code = "generation_not_found"


class GenerationOver(Conflict):
    """The generation has ended and cannot be cancelled any more."""

    code = "generation_over"


class GenerationNotReplayable(Conflict):
    """Only a failed generation can be tried again."""

    code = "generation_not_replayable"


class EngineUnknown(Invalid):
    """There is no such engine."""

    code = "engine_unknown"


class RequestInvalid(Invalid):
    """The request does not fit."""

    code = "generation_invalid"


class OrganizationBacklogged(RateLimited):
    """Too much of this organization's work is waiting already; try again later."""

    code = "organization_backlogged"


class InstallationBacklogged(Unavailable):
    """More is waiting than can be done in time; try again later."""

    code = "installation_backlogged"

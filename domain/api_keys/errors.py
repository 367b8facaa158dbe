"""Refusals about API keys."""

from domain.errors import Forbidden, Invalid, NotFound, Unauthenticated


class KeyMissing(Unauthenticated):
    """The request carries no API key."""

    code = "api_key_missing"


class KeyInvalid(Unauthenticated):
    """This API key is not known, or was revoked."""

    code = "api_key_invalid"


class KeyExpired(Unauthenticated):
    """This API key has expired."""

    code = "api_key_expired"


class ScopeMissing(Forbidden):
    """This API key lacks the scope that is needed."""

    code = "scope_missing"


class ScopesTooWide(Forbidden):
    """A key cannot give what it does not have itself."""

    code = "scopes_too_wide"


class ScopeUnknown(Invalid):
    """There is no such scope."""

    code = "scope_unknown"


class KeyNotFound(NotFound):
    """There is no such API key here."""

    code = "api_key_not_found"

"""Refusals of the HTTP edge itself: requests that never reach the domain, and what its machinery could not do."""

from domain.errors import Conflict, DomainError, Forbidden, Invalid, NotFound, Unavailable


class BadRequest(DomainError):
    """The request is not understood."""

    code = "bad_request"


class BodyMalformed(BadRequest):
    """The body is not JSON."""

    code = "body_malformed"


class BodyInvalid(Invalid):
    """The body does not fit."""

    code = "body_invalid"


class ParameterInvalid(Invalid):
    """A parameter of the path, the query or a header does not fit."""

    code = "parameter_invalid"


class CursorInvalid(Invalid):
    """The cursor is not one of this list."""

    code = "cursor_invalid"


class RouteNotFound(NotFound):
    """There is nothing at this address."""

    code = "route_not_found"


class MethodNotAllowed(DomainError):
    """This address does not know the method."""

    code = "method_not_allowed"


class BodyTooSlow(DomainError):
    """The body did not arrive in time."""

    code = "body_too_slow"


class MediaTypeUnsupported(DomainError):
    """Bodies of this media type are not taken here."""

    code = "media_type_unsupported"


class RangeNotSatisfiable(DomainError):
    """The object has no such range of bytes."""

    code = "range_not_satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(f"the object has {size} bytes")
        self.size = size


class LinkInvalid(Forbidden):
    """This link is not ours, or was changed."""

    code = "link_invalid"


class LinkExpired(Forbidden):
    """This link has expired."""

    code = "link_expired"


class AlreadyExists(Conflict):
    """There is one like it already."""

    code = "already_exists"


class ReferenceInvalid(Invalid):
    """Something that the request names does not exist, or a value is missing."""

    code = "reference_invalid"


class Contended(Unavailable):
    """Too many requests want the same thing at the moment; try again."""

    code = "contended"


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached at the moment; try again."""

    code = "database_unavailable"


class StorageUnavailable(Unavailable):
    """The store of images cannot be reached at the moment; try again."""

    code = "storage_unavailable"


class Overloaded(Unavailable):
    """Too much is asked of this server at the moment; try again."""

    code = "overloaded"


class InternalError(DomainError):
    """Something went wrong here; it was noted under the request's id."""

    code = "internal_error"

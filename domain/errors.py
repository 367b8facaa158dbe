"""Refusals, and nothing else: an error here is an answer the caller can act on; anything else is a fault.

    DomainError
      NotFound  Conflict  Invalid  Unauthenticated  Forbidden  QuotaExceeded  RateLimited
      Gone  PreconditionFailed  TooLarge  LoopDetected  Unavailable

A module's own errors subclass a kind in its `errors.py` and set `code`, which is stable and documented
(`docs/errors.md`). `api/problems.py` is the one table from kind to HTTP status.
"""

from typing import ClassVar


class FieldError:
    """One field that does not fit: a JSON pointer into the request's body, and what is wrong there."""

    __slots__ = ("detail", "pointer")

    def __init__(self, pointer: str, detail: str) -> None:
        self.pointer = pointer
        self.detail = detail


class DomainError(Exception):
    """The docstring of a subclass is its default text and its title."""

    code: ClassVar[str] = "error"

    def __init__(
        self, detail: str = "", *, fields: tuple[FieldError, ...] = (), retry_after: int | None = None
    ) -> None:
        super().__init__(detail or self.title())
        self.detail = detail or self.title()
        self.fields = fields
        self.retry_after = retry_after

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0].rstrip(".")


class NotFound(DomainError):
    """There is no such thing here."""

    code = "not_found"


class Conflict(DomainError):
    """The request contradicts the present state."""

    code = "conflict"


class Invalid(DomainError):
    """The request does not fit."""

    code = "invalid"


class Unauthenticated(DomainError):
    """A valid API key is needed."""

    code = "unauthenticated"


class Forbidden(DomainError):
    """This key may not do that."""

    code = "forbidden"


class QuotaExceeded(DomainError):
    """Nothing is left of what the plan gives."""

    code = "quota_exceeded"


class RateLimited(DomainError):
    """Too many requests."""

    code = "rate_limited"


class Gone(DomainError):
    """This is over and will not come back."""

    code = "gone"


class PreconditionFailed(DomainError):
    """It was changed by someone else meanwhile; read it again."""

    code = "precondition_failed"


class TooLarge(DomainError):
    """The request is larger than allowed."""

    code = "too_large"


class LoopDetected(DomainError):
    """The request came from this service itself."""

    code = "loop_detected"


class Unavailable(DomainError):
    """Not possible at the moment; try again."""

    code = "unavailable"

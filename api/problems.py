"""Every refusal and every fault as `application/problem+json` (RFC 9457). The one table from kind to HTTP status."""

import errno
from typing import Any, Final

import asyncpg
import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException
from litestar.types import ExceptionHandlersMap, Scope
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api import errors
from domain import errors as kinds
from domain.errors import DomainError, FieldError
from runtime import database_faults
from runtime.telemetry import logs
from storage.errors import StorageUnavailableError

log = logs.logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
TYPES: Final = "/docs/errors#"
"""A problem's `type` is a reference relative to the request's address; the page says what to do about it."""

STATUS: Final[dict[type[DomainError], int]] = {
    errors.BadRequest: 400,
    kinds.Unauthenticated: 401,
    kinds.QuotaExceeded: 402,
    kinds.Forbidden: 403,
    kinds.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.BodyTooSlow: 408,
    kinds.Conflict: 409,
    kinds.Gone: 410,
    kinds.PreconditionFailed: 412,
    kinds.TooLarge: 413,
    errors.MediaTypeUnsupported: 415,
    errors.RangeNotSatisfiable: 416,
    kinds.Invalid: 422,
    kinds.RateLimited: 429,
    errors.InternalError: 500,
    kinds.Unavailable: 503,
    kinds.LoopDetected: 508,
}

CHALLENGE: Final = 'Bearer realm="atelier"'
RETRY_AFTER: Final = 1
MOST_FIELDS: Final = 50

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_WRONG_VALUE: Final = ("22", "23502", "23503", "23514")
_TAKEN: Final = "23505"


class Field(msgspec.Struct, omit_defaults=True, frozen=True):
    """One thing that does not fit: a JSON pointer into the body (RFC 6901), or the name of a parameter."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Problem(msgspec.Struct, omit_defaults=True, frozen=True, kw_only=True):
    """What went wrong (RFC 9457). Branch on `code`, never on the texts; give `request_id` when you ask for help."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[Field] = []


class ClientGoneError(Exception):
    """The client went away before it had sent its whole request; nobody reads the answer."""


def status_of(error: type[DomainError]) -> int:
    return next(STATUS[kind] for kind in error.__mro__ if kind in STATUS)


def encode(error: DomainError, request_id: str, fields: list[Field] | None = None) -> bytes:
    if fields is None:
        fields = [Field(detail=field.detail, pointer=field.pointer) for field in error.fields[:MOST_FIELDS]]
    return msgspec.json.encode(
        Problem(
            type=TYPES + error.code,
            title=error.title(),
            status=status_of(type(error)),
            detail=error.detail,
            code=error.code,
            request_id=request_id,
            errors=fields,
        )
    )


def headers(error: DomainError) -> dict[str, str]:
    found = {"cache-control": "no-store"}
    if error.retry_after is not None:
        found["retry-after"] = str(error.retry_after)
    if isinstance(error, errors.RangeNotSatisfiable):
        found["content-range"] = f"bytes */{error.size}"
    if isinstance(error, kinds.Unauthenticated):
        known = error.code != "api_key_missing"
        found["www-authenticate"] = f'{CHALLENGE}, error="invalid_token"' if known else CHALLENGE
    return found


def request_id(scope: Scope) -> str:
    return str(scope.get("state", {}).get("request_id", ""))


def of_fault(error: BaseException) -> DomainError:
    """What the caller is told of an exception that is no refusal. Nothing of its text leaves the house."""
    state = database_faults.sqlstate(error) or ""
    told: DomainError = errors.InternalError()
    if isinstance(error, PoolTimeout):
        told = errors.Overloaded(retry_after=RETRY_AFTER)
    elif isinstance(error, StorageUnavailableError) or getattr(error, "errno", None) in _FULL:
        told = errors.StorageUnavailable(retry_after=RETRY_AFTER)
    elif state in database_faults.CONTENDED | database_faults.BUSY:
        told = errors.Contended(retry_after=RETRY_AFTER)
    elif state == _TAKEN:
        told = errors.AlreadyExists()
    elif state.startswith(_WRONG_VALUE) or isinstance(database_faults.origin(error), asyncpg.DataError):
        told = errors.ReferenceInvalid()
    elif database_faults.is_disconnect(error):
        told = errors.DatabaseUnavailable(retry_after=RETRY_AFTER)
    return told


def respond(scope: Scope, error: DomainError, fields: list[Field] | None = None) -> Response[bytes]:
    scope["state"]["problem"] = error.code
    return Response(
        encode(error, request_id(scope), fields),
        status_code=status_of(type(error)),
        headers=headers(error),
        media_type=MEDIA_TYPE,
    )


def _refusal(request: Request[Any, Any, Any], error: DomainError) -> Response[bytes]:
    return respond(request.scope, error)


def _of_litestar(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What Litestar refuses before a handler is called."""
    match error:
        case NotFoundException():
            return respond(request.scope, errors.RouteNotFound())
        case MethodNotAllowedException():
            answer = respond(request.scope, errors.MethodNotAllowed())
            answer.headers["allow"] = (error.headers or {}).get("allow", "")
            return answer
        case HTTPException(status_code=413):
            return respond(request.scope, kinds.TooLarge())
        case ValidationException():
            return respond(request.scope, *_misfit(error))
        case HTTPException(status_code=status) if status < 500:
            return respond(request.scope, errors.BadRequest(error.detail))
    return _fault(request, error)


def _misfit(error: ValidationException) -> tuple[DomainError, list[Field]]:
    """Bodies are decoded by `api.requests`; what Litestar finds is a parameter, or that there is no body."""
    found: list[Any] = error.extra if isinstance(error.extra, list) else []
    if any(each.get("key") == "data" for each in found):
        return errors.BodyInvalid("there is no body"), [Field(detail="is required", pointer="")]
    fields = [Field(detail=each.get("message", ""), parameter=each.get("key", "")) for each in found[:MOST_FIELDS]]
    return errors.ParameterInvalid(), fields


def _fault(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    told = of_fault(error)
    if isinstance(error, ClientGoneError):
        return respond(request.scope, errors.BadRequest("the client went away"))
    if isinstance(told, errors.ReferenceInvalid) and (named := _with_zero(request)):
        return respond(request.scope, errors.ParameterInvalid(), named)
    if isinstance(told, errors.InternalError):
        log.error("a request failed", exc_info=error, path=request.scope.get("path_template", ""))
    elif isinstance(told, kinds.Unavailable):
        log.warning("a request could not be served", code=told.code, error=type(error).__name__)
        request.scope["state"]["failed_by"] = error
    return respond(request.scope, told)


def _with_zero(request: Request[Any, Any, Any]) -> list[Field]:
    """Parameters with the one character that PostgreSQL's texts cannot have; looked for when it has refused a value."""
    given = [*request.path_params.items(), *request.query_params.multi_items()]
    found = dict.fromkeys(name for name, value in given if "\0" in str(value))
    return [Field(detail="the character U+0000 cannot be in it", parameter=name) for name in found]


def invalid_body(detail: str, *fields: tuple[str, str]) -> errors.BodyInvalid:
    """`fields` are pairs of a JSON pointer and what is wrong there."""
    return errors.BodyInvalid(detail, fields=tuple(FieldError(pointer, text) for pointer, text in fields))


HANDLERS: Final[ExceptionHandlersMap] = {
    DomainError: _refusal,
    HTTPException: _of_litestar,
    Exception: _fault,
}


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """As Litestar finds it in this table: by the error's nearest kind."""
    return next(HANDLERS[kind] for kind in type(error).__mro__ if kind in HANDLERS)(request, error)

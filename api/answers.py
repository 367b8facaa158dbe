"""The answers that a route documents beside its success: problems, each with the codes that it may carry."""

from collections import defaultdict
from typing import Final

from litestar.openapi.datastructures import ResponseSpec

from api import errors, problems
from api.problems import Problem
from domain import errors as kinds
from domain.api_keys.errors import KeyExpired, KeyInvalid, KeyMissing, ScopeMissing
from domain.errors import DomainError
from domain.idempotency.errors import KeyBusy, KeyMalformed, KeyReused

ANYWHERE: Final = (
    errors.BadRequest,
    errors.ParameterInvalid,
    kinds.RateLimited,
    errors.InternalError,
    errors.Contended,
    errors.DatabaseUnavailable,
    errors.Overloaded,
    kinds.LoopDetected,
)
FOR_CALLERS: Final = (KeyMissing, KeyInvalid, KeyExpired, ScopeMissing)
WITH_BODY: Final = (
    errors.BodyMalformed,
    errors.BodyInvalid,
    errors.BodyTooSlow,
    errors.MediaTypeUnsupported,
    kinds.TooLarge,
)
ONCE: Final = (KeyMalformed, KeyReused, KeyBusy)


def public(*refusals: type[DomainError]) -> dict[int, ResponseSpec]:
    """Of a route that asks for no key."""
    by_status: defaultdict[int, list[type[DomainError]]] = defaultdict(list)
    for refusal in (*refusals, *ANYWHERE):
        by_status[problems.status_of(refusal)].append(refusal)
    return {status: _spec(by_status[status]) for status in sorted(by_status)}


def operating(*refusals: type[DomainError]) -> dict[int, ResponseSpec]:
    """Of a route of the operators' API."""
    return public(*refusals, KeyMissing, KeyInvalid)


def reading(*refusals: type[DomainError]) -> dict[int, ResponseSpec]:
    return public(*refusals, *FOR_CALLERS)


def changing(*refusals: type[DomainError]) -> dict[int, ResponseSpec]:
    """Of a route that takes a JSON body."""
    return public(*refusals, *FOR_CALLERS, *WITH_BODY)


def creating(*refusals: type[DomainError]) -> dict[int, ResponseSpec]:
    """Of a route that takes a JSON body and an Idempotency-Key."""
    return changing(*refusals, *ONCE)


def _spec(refusals: list[type[DomainError]]) -> ResponseSpec:
    lines = [f"`{refusal.code}`: {refusal.title()}." for refusal in dict.fromkeys(refusals)]
    return ResponseSpec(
        Problem, description="\n\n".join(lines), media_type=problems.MEDIA_TYPE, generate_examples=False
    )

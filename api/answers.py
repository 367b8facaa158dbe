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

_AT_THE_EDGE: Final = (kinds.RateLimited, kinds.LoopDetected)
"""What `api.edge` alone refuses, with BodyTooSlow: the operators' port has none."""
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
FOR_OPERATORS: Final = (*(each for each in ANYWHERE if each not in _AT_THE_EDGE), KeyMissing, KeyInvalid)
FOR_CALLERS: Final = (KeyMissing, KeyInvalid, KeyExpired, ScopeMissing)
DECODED: Final = (errors.BodyMalformed, errors.BodyInvalid, errors.MediaTypeUnsupported, kinds.TooLarge)
WITH_BODY: Final = (*DECODED, errors.BodyTooSlow)
ONCE: Final = (KeyMalformed, KeyReused, KeyBusy)


def public(*refusals: type[DomainError]) -> dict[int, ResponseSpec]:
    """Of a route that asks for no key."""
    return _specs(*refusals, *ANYWHERE)


def operating(*refusals: type[DomainError]) -> dict[int, ResponseSpec]:
    """Of a route of the operators' API."""
    return _specs(*refusals, *FOR_OPERATORS)


def reading(*refusals: type[DomainError]) -> dict[int, ResponseSpec]:
    return public(*refusals, *FOR_CALLERS)


def changing(*refusals: type[DomainError]) -> dict[int, ResponseSpec]:
    """Of a route that takes a JSON body."""
    return public(*refusals, *FOR_CALLERS, *WITH_BODY)


def creating(*refusals: type[DomainError]) -> dict[int, ResponseSpec]:
    """Of a route that takes a JSON body and an Idempotency-Key."""
    return changing(*refusals, *ONCE)


def _specs(*refusals: type[DomainError]) -> dict[int, ResponseSpec]:
    by_status: defaultdict[int, list[type[DomainError]]] = defaultdict(list)
    for refusal in refusals:
        by_status[problems.status_of(refusal)].append(refusal)
    return {status: _spec(by_status[status]) for status in sorted(by_status)}


def _spec(refusals: list[type[DomainError]]) -> ResponseSpec:
    lines = [f"`{refusal.code}`: {refusal.title()}." for refusal in dict.fromkeys(refusals)]
    return ResponseSpec(
        Problem, description="\n\n".join(lines), media_type=problems.MEDIA_TYPE, generate_examples=False
    )

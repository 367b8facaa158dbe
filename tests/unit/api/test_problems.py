"""The table from kinds of refusals to HTTP statuses."""

import asyncpg
import msgspec
import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api import documentation, errors, problems
from domain import errors as kinds
from domain.errors import FieldError
from storage.errors import StorageFullError


def test_every_refusal_there_is_has_a_status():
    statuses = {kind.code: problems.status_of(kind) for kind in documentation.refusals()}
    assert all(400 <= status <= 508 for status in statuses.values())
    assert {code: statuses[code] for code in ("insufficient_credits", "api_key_invalid", "generation_not_found")} == {
        "insufficient_credits": 402,
        "api_key_invalid": 401,
        "generation_not_found": 404,
    }


def test_every_code_belongs_to_one_refusal():
    def below(kind):
        return [kind, *(found for child in kind.__subclasses__() for found in below(child))]

    codes = [kind.code for kind in below(kinds.DomainError) if "code" in vars(kind)]
    assert sorted(codes) == sorted(set(codes))


def test_a_problem_says_everything_once():
    refusal = kinds.Invalid("it does not fit", fields=(FieldError("/a/0", "is odd"),))
    assert msgspec.json.decode(problems.encode(refusal, "req_1")) == {
        "type": "/docs/errors#invalid",
        "title": "The request does not fit",
        "status": 422,
        "detail": "it does not fit",
        "code": "invalid",
        "request_id": "req_1",
        "errors": [{"pointer": "/a/0", "detail": "is odd"}],
    }


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (asyncpg.UniqueViolationError(), errors.AlreadyExists),
        (asyncpg.ForeignKeyViolationError(), errors.ReferenceInvalid),
        (asyncpg.NotNullViolationError(), errors.ReferenceInvalid),
        (asyncpg.CheckViolationError(), errors.ReferenceInvalid),
        (asyncpg.CharacterNotInRepertoireError(), errors.ReferenceInvalid),
        (asyncpg.DataError(), errors.ReferenceInvalid),
        (asyncpg.SerializationError(), errors.Contended),
        (asyncpg.DeadlockDetectedError(), errors.Contended),
        (asyncpg.LockNotAvailableError(), errors.Contended),
        (asyncpg.AdminShutdownError(), errors.DatabaseUnavailable),
        (asyncpg.TooManyConnectionsError(), errors.DatabaseUnavailable),
        (asyncpg.ConnectionDoesNotExistError(), errors.DatabaseUnavailable),
        (asyncpg.InterfaceError("connection is closed"), errors.DatabaseUnavailable),
        (asyncpg.InternalClientError("got result for unknown protocol state"), errors.DatabaseUnavailable),
        (ConnectionRefusedError(), errors.DatabaseUnavailable),
        (PoolTimeout(), errors.Overloaded),
        (StorageFullError(), errors.StorageUnavailable),
        (FileNotFoundError(2, "No such file", "/secret/path"), errors.InternalError),
        (asyncpg.UndefinedTableError(), errors.InternalError),
        (RuntimeError("a secret"), errors.InternalError),
    ],
)
def test_a_fault_is_told_by_its_kind_and_never_by_its_text(fault, told):
    answer = problems.of_fault(fault)
    assert type(answer) is told
    assert "secret" not in answer.detail
    if problems.status_of(told) == 503:
        assert answer.retry_after

"""Doing a request again."""

import asyncpg
import pytest

from api import retries
from api.retries import TRIES, Retries


class App:
    """Fails so many times, then answers 200; as Litestar does, it says what failed it in the scope's state."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.calls = 0

    async def __call__(self, scope, receive, send):
        self.calls += 1
        status = 200
        if self.failures:
            scope["state"]["failed_by"] = self.failures.pop(0)
            status = 503
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def ask(app, method="POST", headers=()):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "headers": list(headers), "state": {}}
    await Retries(app)(scope, None, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"]


@pytest.mark.parametrize("failure", [asyncpg.SerializationError(), asyncpg.DeadlockDetectedError()])
async def test_what_the_database_threw_back_is_done_again(failure):
    app = App(failure)
    assert await ask(app) == 200
    assert app.calls == 2


async def test_not_for_ever():
    app = App(*[asyncpg.DeadlockDetectedError()] * TRIES)
    assert await ask(app) == 503
    assert app.calls == TRIES


@pytest.mark.parametrize(
    ("method", "headers", "calls"),
    [("GET", (), 2), ("POST", [(b"idempotency-key", b"k")], 2), ("POST", (), 1), ("DELETE", (), 1)],
)
async def test_after_a_lost_connection_only_what_may_be_repeated_is(method, headers, calls):
    app = App(ConnectionResetError())
    assert await ask(app, method, headers) == (200 if calls == 2 else 503)
    assert app.calls == calls


async def test_a_database_that_comes_back_in_time_is_waited_for():
    app = App(*[ConnectionRefusedError()] * (TRIES + 2))
    assert await ask(app, "GET") == 200
    assert app.calls == TRIES + 3


async def test_one_that_stays_away_is_told(monkeypatch):
    monkeypatch.setattr(retries, "PATIENCE", 0.1)
    app = App(*[ConnectionRefusedError()] * 99)
    assert await ask(app, "GET") == 503
    assert app.calls < 10


async def test_other_failures_are_answered_at_once():
    app = App(asyncpg.LockNotAvailableError())
    assert await ask(app) == 503
    assert app.calls == 1

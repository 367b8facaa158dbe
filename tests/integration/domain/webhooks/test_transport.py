"""What each answer of a receiver means for its delivery."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from domain.webhooks import signing, transport
from domain.webhooks.transport import AttemptResult, Outcome
from runtime import outbound
from tests import http_server

BODY = b'{"type":"generation.succeeded","timestamp":"2026-11-20T08:30:00.125Z","data":{"id":"gen_1"}}'


async def attempt(
    url: str, *, headers: dict[str, str] | None = None, timeout: float = 5, allow: str = "127.0.0.0/8"
) -> AttemptResult:
    async with outbound.Outbound(outbound.Policy(allow=outbound.networks(allow))) as client:
        return await transport.send(client, url=url, headers=headers or {}, body=BODY, timeout=timeout)


async def answered(answer: bytes | http_server.Answer, *, timeout: float = 5) -> AttemptResult:
    async with http_server.serve(answer) as server:
        return await attempt(server.url, timeout=timeout)


async def test_a_receiver_verifies_what_it_gets_with_either_secret() -> None:
    secrets = [signing.new_secret(), signing.new_secret()]
    headers = signing.sign(secrets, "evt_1", datetime.now(UTC), BODY) | {"traceparent": "00-1-2-01"}
    async with http_server.serve() as server:
        result = await attempt(f"{server.url}/hook", headers=headers)
    assert (result.outcome, result.status_code, result.error) == (Outcome.DELIVERED, 204, None)
    (request,) = server.requests
    assert (request.method, request.target, request.body) == ("POST", "/hook", BODY)
    for secret in secrets:
        Webhook(secret).verify(request.body, request.headers)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("Atelier-Webhooks/")
    assert request.headers["traceparent"] == "00-1-2-01"
    assert request.headers["cdn-loop"] == "atelier"


@pytest.mark.parametrize(
    ("status", "outcome", "throttled"),
    [
        (200, Outcome.DELIVERED, False),
        (299, Outcome.DELIVERED, False),
        (304, Outcome.RETRY, False),
        (307, Outcome.RETRY, False),
        (400, Outcome.RETRY, False),
        (404, Outcome.RETRY, False),
        (410, Outcome.DISABLE, False),
        (429, Outcome.RETRY, True),
        (500, Outcome.RETRY, False),
        (502, Outcome.RETRY, True),
        (503, Outcome.RETRY, False),
        (504, Outcome.RETRY, True),
        (599, Outcome.RETRY, False),
    ],
)
async def test_a_status_decides_the_outcome(status: int, outcome: Outcome, throttled: bool) -> None:
    result = await answered(http_server.response(status=status, headers={"location": "http://127.0.0.1/"}))
    assert (result.status_code, result.outcome, result.throttled) == (status, outcome, throttled)


async def test_what_the_receiver_says_of_the_next_time_is_read() -> None:
    result = await answered(http_server.response(status=429, headers={"retry-after": "90"}))
    assert result.retry_after == timedelta(seconds=90)
    assert (await answered(http_server.response(status=503, headers={"retry-after": "soon"}))).retry_after is None


async def test_the_kept_answer_is_text_that_a_database_can_hold() -> None:
    result = await answered(http_server.response(b"caf\xc3\xa9 \0 \xff \xed\xa0\x80", status=500))
    assert result.response_body.startswith("café \ufffd \ufffd ")
    assert "\0" not in result.response_body
    result.response_body.encode()


@pytest.mark.parametrize("filler", [b"x", "é".encode(), b"\xff", b"\0"])
async def test_the_kept_answer_is_cut(filler: bytes) -> None:
    result = await answered(http_server.response(b"a" + filler * 50_000))
    assert result.outcome is Outcome.DELIVERED
    assert transport.MAX_RESPONSE_BYTES - 3 <= len(result.response_body.encode()) <= transport.MAX_RESPONSE_BYTES


async def test_a_fault_of_the_network_is_a_result_and_not_an_error() -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    async def rst(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http_server.reset(writer)

    silent = await answered(hang, timeout=0.1)
    assert (silent.outcome, silent.status_code, silent.error) == (Outcome.RETRY, None, "timeout")
    assert 50 < silent.duration_ms < 2000
    assert (await answered(rst)).error == "connection_broken"
    assert (await answered(b"nonsense\r\n\r\n")).error == "bad_response"
    assert (await attempt("http://127.0.0.1:9/")).error == "invalid_url"
    assert (await attempt("http://nowhere.invalid/")).error == "dns_failed"
    refused = await attempt("http://127.0.0.1:9000/", allow="")
    assert (refused.outcome, refused.error) == (Outcome.RETRY, "address_refused")


async def test_a_host_with_too_many_open_attempts_costs_no_attempt() -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    policy = outbound.Policy(allow=outbound.networks("127.0.0.0/8"))
    async with http_server.serve(hang) as server, outbound.Outbound(policy, per_host=1) as client:
        first = asyncio.create_task(transport.send(client, url=server.url, headers={}, body=BODY, timeout=0.5))
        await asyncio.sleep(0.05)
        second = await transport.send(client, url=server.url, headers={}, body=BODY, timeout=0.1)
        assert (second.outcome, second.error) == (Outcome.SNOOZE, "host_busy")
        assert (await first).outcome is Outcome.RETRY
    assert len(server.requests) == 1

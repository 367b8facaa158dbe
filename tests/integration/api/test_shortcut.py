"""The short way and Litestar's own lead to the same answers."""

import io
import json

import pytest

SHORT, LONG = "/v1/generations", "/v1/generations/"
"""The second spelling is one that only Litestar's routing knows."""
BADGE = {"template": "badge", "input": {"label": "A+"}}
OF_ONE_ANSWER = {"date", "x-request-id", "traceparent", "ratelimit", "location", "content-length"}


async def asked(api, path, body, headers):
    async with api.client.post(path, data=io.BytesIO(body.encode()), headers=headers) as answer:
        told = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in OF_ONE_ANSWER}
        return answer.status, told, json.loads(await answer.read())


def without_ids(answer):
    changing = {"id", "created_at", "request_id"}
    return {name: value for name, value in answer.items() if name not in changing}


@pytest.mark.parametrize(
    ("body", "changed", "status"),
    [
        (json.dumps(BADGE), {}, 202),
        (json.dumps(BADGE), {"Idempotency-Key": "k"}, 202),
        (json.dumps(BADGE), {"Idempotency-Key": "\N{SNOWMAN}"}, 422),
        (json.dumps(BADGE), {"Authorization": "Bearer nonsense"}, 401),
        (json.dumps(BADGE), {"Content-Type": "text/plain"}, 415),
        (json.dumps(BADGE), {"Host": "no host"}, 400),
        ("{", {}, 400),
        (json.dumps(BADGE | {"unknown": 1}), {}, 422),
        (json.dumps({"template": "badge", "input": {"label": 1}}), {}, 422),
        (json.dumps({"template": "nothing"}), {}, 404),
        (json.dumps({"prompt": "x" * 2_000_000}), {}, 413),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_both_ways_answer_alike(api, organization, body, changed, status):
    headers = organization.headers | {"Content-Type": "application/json"} | changed
    short, long = [await asked(api, path, body, headers) for path in (SHORT, LONG)]
    assert short[0] == long[0] == status
    assert short[1].items() - {("idempotent-replayed", "true")} == long[1].items() - {("idempotent-replayed", "true")}
    assert without_ids(short[2]) == without_ids(long[2])


async def test_a_fault_on_the_short_way_is_told_as_one(api, organization, monkeypatch):
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("canary")

    monkeypatch.setattr(type(api.resources.reception), "accept", broken)
    headers = organization.headers | {"Content-Type": "application/json"}
    for path in (SHORT, LONG):
        status, _, problem = await asked(api, path, json.dumps(BADGE), headers)
        assert (status, problem["code"]) == (500, "internal_error")
        assert "canary" not in str(problem)

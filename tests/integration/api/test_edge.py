"""What every request and every answer goes through."""

import asyncio
import io
import json

import aiohttp

from api import edge, rate_limits
from api.requests import DEEPEST

BADGE = {"template": "badge", "input": {"label": "A+"}}


async def asked(api, method, path, **options):
    async with api.client.request(method, path, **options) as answer:
        return answer, await answer.read()


async def refused(api, method, path, **options):
    answer, body = await asked(api, method, path, **options)
    problem = json.loads(body)
    assert answer.content_type == "application/problem+json"
    assert problem["status"] == answer.status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert set(problem) >= {"type", "title", "status", "detail", "code", "request_id"}
    return answer, problem["code"]


async def test_what_is_asked_wrongly_is_told_as_a_problem(api, organization):
    keyed = organization.headers
    json_type = keyed | {"Content-Type": "application/json"}
    expected = {
        ("GET", "/nothing"): (404, "route_not_found", {}),
        ("GET", "/v1/nothing/at/all"): (404, "route_not_found", {}),
        ("PUT", "/v1/generations"): (405, "method_not_allowed", {"headers": keyed}),
        ("POST", "/v1/generations#text"): (415, "media_type_unsupported", {"data": b"hi", "headers": keyed}),
        ("POST", "/v1/generations#broken"): (400, "body_malformed", {"data": b"{", "headers": json_type}),
        ("POST", "/v1/generations#empty"): (400, "body_malformed", {"data": b"", "headers": json_type}),
        ("POST", "/v1/api-keys#empty"): (422, "body_invalid", {"headers": keyed}),
        ("POST", "/v1/api-keys#deep"): (422, "body_invalid", {"data": b"[" * (DEEPEST + 1), "headers": json_type}),
        ("GET", "/v1/events?after=x"): (422, "parameter_invalid", {"headers": keyed}),
        ("GET", "/v1/events?after=-1"): (422, "parameter_invalid", {"headers": keyed}),
        ("GET", f"/v1/events?after={10**23}"): (422, "parameter_invalid", {"headers": keyed}),
        ("GET", f"/v1/events/stream?after={10**23}"): (422, "parameter_invalid", {"headers": keyed}),
        ("GET", "/v1/generations/%00"): (422, "parameter_invalid", {"headers": keyed}),
        ("POST", "/v1/generations/gen_%00/cancel"): (422, "parameter_invalid", {"headers": keyed}),
        ("GET", "/v1/generations/gen_%00/stream"): (422, "parameter_invalid", {"headers": keyed}),
        ("GET", "/v1/files/%00"): (422, "parameter_invalid", {"headers": keyed}),
        ("GET", "/v1/webhook-endpoints/%00"): (422, "parameter_invalid", {"headers": keyed}),
        ("GET", "/v1/deliveries?endpoint_id=%00"): (422, "parameter_invalid", {"headers": keyed}),
        ("GET", "/v1/templates/%00"): (404, "template_not_found", {"headers": keyed}),
        ("DELETE", "/v1/api-keys/%00"): (422, "parameter_invalid", {"headers": keyed}),
        ("GET", "/assets/o/x/y.png"): (403, "link_invalid", {}),
    }
    for (method, path), (status, code, options) in expected.items():
        answer, found = await refused(api, method, path, **options)
        assert (answer.status, found) == (status, code), path
    answer, _ = await refused(api, "PUT", "/v1/generations")
    assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))


async def test_a_parameter_that_does_not_fit_is_named(api, organization):
    for path, name in (("/v1/events?after=1" + "0" * 23, "after"), ("/v1/generations/%00", "generation_id")):
        async with api.client.get(path, headers=organization.headers) as answer:
            assert [each["parameter"] for each in (await answer.json())["errors"]] == [name]


async def test_no_key_a_wrong_key_and_a_key_without_the_scope(api, make_organization):
    weak = await make_organization(wanted=("usage:read",))
    flipped = weak.key[:-1] + ("0" if weak.key[-1] != "0" else "1")
    expected = [
        ({}, 401, "api_key_missing"),
        ({"Authorization": "Basic YTpi"}, 401, "api_key_invalid"),
        ({"Authorization": f"Bearer {flipped}"}, 401, "api_key_invalid"),
        ({"X-API-Key": "sk_test_1"}, 401, "api_key_invalid"),
        ({"Authorization": f"Bearer {weak.key}"}, 403, "scope_missing"),
        ({"X-API-Key": weak.key}, 403, "scope_missing"),
    ]
    for headers, status, code in expected:
        for method in ("GET", "POST"):
            answer, found = await refused(api, method, "/v1/generations", headers=headers)
            assert (answer.status, found) == (status, code), headers
            assert ("www-authenticate" in answer.headers) == (status == 401)


async def test_every_route_of_customers_asks_for_a_key(api):
    async with api.client.get("/openapi.json") as answer:
        paths = (await answer.json())["paths"]
    public = {"/v1/templates/{name}/preview.png"}
    for path, item in paths.items():
        for method in set(item) & {"get", "post", "put", "patch", "delete"}:
            if path.startswith("/v1/") and path not in public:
                answer, code = await refused(api, method.upper(), path)
                assert (answer.status, code) == (401, "api_key_missing"), (method, path)


async def test_a_wrong_key_does_not_keep_anyone_from_what_is_public(api):
    answer, _ = await asked(api, "GET", "/health", headers={"Authorization": "Bearer nonsense"})
    assert answer.status == 200


async def test_a_request_id_comes_back_unless_it_could_not_be_logged(api):
    answer, _ = await asked(api, "GET", "/health", headers={"X-Request-Id": "abc-123.x:1"})
    assert answer.headers["x-request-id"] == "abc-123.x:1"
    for odd in ("a b", "x" * 65, "<script>", "é"):
        answer, _ = await asked(api, "GET", "/health", headers={"X-Request-Id": odd})
        assert answer.headers["x-request-id"].startswith("req_")


async def test_a_trace_is_carried_on_and_begun_where_there_is_none(api):
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer, _ = await asked(api, "GET", "/health", headers={"traceparent": given})
    assert answer.headers["traceparent"].split("-")[1] == given.split("-")[1]
    answer, _ = await asked(api, "GET", "/health", headers={"traceparent": "garbage"})
    assert len(answer.headers["traceparent"]) == 55


async def test_answers_carry_the_headers_that_browsers_heed(api):
    answer, _ = await asked(api, "GET", "/health")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "server" not in answer.headers


async def test_what_we_sent_ourselves_is_not_taken(api, organization):
    for loop in ("atelier", "other; v=1, Atelier; id=7"):
        headers = organization.headers | {"CDN-Loop": loop}
        answer, code = await refused(api, "POST", "/v1/generations", json=BADGE, headers=headers)
        assert (answer.status, code) == (508, "loop_detected")
    headers = organization.headers | {"CDN-Loop": "atelier-of-someone-else"}
    answer, _ = await asked(api, "POST", "/v1/generations", json=BADGE, headers=headers)
    assert answer.status == 202


async def test_a_body_that_is_too_large_is_refused_announced_or_not(api, organization):
    headers = organization.headers | {"Content-Type": "application/json"}
    large = b" " * (1024 * 1024 + 1)

    async def in_chunks():
        yield large

    for data in (io.BytesIO(large), in_chunks()):
        try:
            answer, code = await refused(api, "POST", "/v1/generations", data=data, headers=headers)
        except aiohttp.ClientConnectionError:
            continue  # refused while it was still sending
        assert (answer.status, code) == (413, "too_large")


async def test_a_body_that_does_not_arrive_is_not_waited_for(api, organization, monkeypatch):
    monkeypatch.setattr(edge, "BODY_TIME", 0.1)

    async def slowly():
        yield b"{"
        await asyncio.sleep(5)

    headers = organization.headers | {"Content-Type": "application/json"}
    answer, code = await refused(api, "POST", "/v1/generations", data=slowly(), headers=headers)
    assert (answer.status, code) == (408, "body_too_slow")


async def test_a_client_that_goes_away_is_no_fault_of_ours(api, organization, capsys):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    key = organization.key
    head = f"POST /v1/generations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 9\r\n"
    writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n{")
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await writer.wait_closed()
    reader.feed_eof()
    await asyncio.sleep(0.05)
    assert "a request failed" not in capsys.readouterr().out


async def test_limits_are_said_and_kept(api, organization, monkeypatch):
    monkeypatch.setitem(rate_limits.PER_WINDOW, "free", 60)
    answer, _ = await asked(api, "GET", "/v1/plans", headers=organization.headers)
    assert answer.headers["ratelimit-policy"] == '"default";q=60;w=60'
    assert answer.headers["ratelimit"] == '"default";r=59;t=1'
    while answer.status == 200:
        answer, body = await asked(api, "GET", "/v1/plans", headers=organization.headers)
    # The answer that ended the loop is the one to look at: a second later there is room for one more request.
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    assert (answer.content_type, json.loads(body)["code"]) == ("application/problem+json", "rate_limited")
    answer, _ = await asked(api, "GET", "/health")
    assert "ratelimit" not in answer.headers


async def test_requests_are_counted_by_route_and_never_by_address(api, organization):
    await asked(api, "GET", "/v1/generations/gen_secret", headers=organization.headers)
    await asked(api, "GET", "/v1/nowhere")
    async with api.client.get(f"{api.operator_url}/metrics") as answer:
        shown = await answer.text()
    assert 'route="/v1/generations/{generation_id}",status="404"' in shown
    assert 'route="(none)",status="404"' in shown
    assert "atelier_http_request_seconds_bucket" in shown
    assert 'atelier_http_problems_total{code="generation_not_found"}' in shown
    assert "gen_secret" not in shown

"""Webhook endpoints and deliveries over real HTTP."""

import re
from typing import Any

import pytest
from standardwebhooks import Webhook

from domain.generations import events as generation_events
from domain.models import metadata
from runtime.settings import Settings
from tests import http_server
from tests.integration.conftest import Api, Organization, OrganizationFactory
from tests.integration.courier import Answers, Courier, reaching_this_machine

ENDPOINTS = "/v1/webhook-endpoints"
DELIVERIES = "/v1/deliveries"
URL = "https://receiver.example/hook"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return reaching_this_machine(settings)


class Caller:
    """Sends JSON under one key, and keeps the last answer's status and headers."""

    def __init__(self, api: Api, organization: Organization) -> None:
        self._api = api
        self._organization = organization
        self.status = 0
        self.headers: Any = {}

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        given = self._organization.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._api.client.request(method, path, json=body, headers=given) as answer:
            self.status, self.headers = answer.status, answer.headers
            return await answer.json(content_type=None) if answer.content_length else None

    async def endpoint(self, url: str = URL, **draft: Any) -> Any:
        made = await self.send("POST", ENDPOINTS, {"url": url} | draft)
        assert self.status == 201, made
        return made


@pytest.fixture
def caller(api: Api, organization: Organization) -> Caller:
    return Caller(api, organization)


async def test_an_endpoint_is_made_shown_and_listed_and_its_secret_only_once(caller: Caller) -> None:
    made = await caller.endpoint(description="mine", event_types=["generation.failed"])
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", made.pop("secret"))
    assert await caller.send("GET", f"{ENDPOINTS}/{made['id']}") == made
    assert (await caller.send("GET", ENDPOINTS)) == {"data": [made], "next_cursor": None}
    assert made["event_types"] == ["generation.failed"]


async def test_every_public_type_of_event_can_be_asked_for(caller: Caller) -> None:
    known = [kind.type for kind in vars(generation_events).values() if getattr(kind, "type", None)]
    made = await caller.endpoint(event_types=known)
    assert made["event_types"] == sorted(known)
    problem = await caller.send("POST", ENDPOINTS, {"url": URL, "event_types": ["api_key.revoked"]})
    assert (caller.status, problem["code"]) == (422, "event_type_unknown")
    assert problem["errors"][0]["pointer"] == "/event_types/0"


@pytest.mark.parametrize(
    ("draft", "code", "pointer"),
    [
        ({}, "body_invalid", "/url"),
        ({"url": URL, "uri": URL}, "body_invalid", "/uri"),
        ({"url": 7}, "body_invalid", "/url"),
        ({"url": URL, "description": "x" * 501}, "body_invalid", "/description"),
        ({"url": "https://10.0.0.1/"}, "webhook_url_refused", "/url"),
        ({"url": "https://[::1]/"}, "webhook_url_refused", "/url"),
        ({"url": URL, "secret": "whsec_short"}, "webhook_secret_malformed", "/secret"),
    ],
)
async def test_a_draft_that_does_not_fit_is_refused_with_its_place(
    caller: Caller, draft: dict[str, Any], code: str, pointer: str
) -> None:
    problem = await caller.send("POST", ENDPOINTS, draft)
    assert (caller.status, problem["code"]) == (422, code)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_our_own_address_is_no_endpoint(caller: Caller, api: Api) -> None:
    problem = await caller.send("POST", ENDPOINTS, {"url": f"{api.url}/v1/generations"})
    assert (caller.status, problem["code"]) == (422, "webhook_url_refused")


async def test_the_same_request_under_the_same_key_makes_one_endpoint_and_stores_no_secret(
    caller: Caller, courier: Courier
) -> None:
    first = await caller.send("POST", ENDPOINTS, {"url": URL}, idempotency_key="one")
    assert await caller.send("POST", ENDPOINTS, {"url": URL}, idempotency_key="one") == first
    assert (caller.status, caller.headers["idempotent-replayed"]) == (201, "true")
    assert len((await caller.send("GET", ENDPOINTS))["data"]) == 1
    rotated = await caller.send("POST", f"{ENDPOINTS}/{first['id']}/rotate-secret", idempotency_key="two")
    texts = [
        row["row"] for table in metadata.tables for row in await courier.rows(f"select t::text as row from {table} t")
    ]
    assert any(first["id"] in text for text in texts)
    for secret in (first["secret"], rotated["secret"]):
        assert not any(secret in text or secret.encode().hex() in text for text in texts)


async def test_a_change_needs_the_revision_that_was_read(caller: Caller) -> None:
    path = f"{ENDPOINTS}/{(await caller.endpoint())['id']}"
    await caller.send("GET", path)
    tag = caller.headers["etag"]
    changed = await caller.send("PATCH", path, {"description": "first"}, if_match=tag)
    assert (caller.status, changed["description"], changed["url"]) == (200, "first", URL)
    assert caller.headers["etag"] != tag
    problem = await caller.send("PATCH", path, {"description": "second"}, if_match=tag)
    assert (caller.status, problem["code"]) == (412, "precondition_failed")
    assert (await caller.send("PATCH", path, {"description": "third"}))["description"] == "third"


async def test_an_endpoint_is_disabled_enabled_and_deleted(caller: Caller) -> None:
    path = f"{ENDPOINTS}/{(await caller.endpoint())['id']}"
    assert (await caller.send("PATCH", path, {"status": "disabled"}))["disabled_reason"] == "caller"
    problem = await caller.send("POST", f"{path}/test")
    assert (caller.status, problem["code"]) == (409, "webhook_endpoint_disabled")
    assert (await caller.send("PATCH", path, {"status": "enabled"}))["status"] == "enabled"
    assert await caller.send("DELETE", path) is None
    assert caller.status == 204
    problem = await caller.send("GET", path)
    assert (caller.status, problem["code"]) == (404, "webhook_endpoint_not_found")


async def test_a_secret_is_rotated_with_or_without_a_grace(caller: Caller) -> None:
    made = await caller.endpoint()
    path = f"{ENDPOINTS}/{made['id']}/rotate-secret"
    rotated = await caller.send("POST", path)
    assert caller.status == 200
    assert rotated["secret"] != made["secret"]
    assert rotated["previous_secret_until"] is not None
    at_once = await caller.send("POST", path, {"grace_seconds": 0, "secret": made["secret"]})
    assert (at_once["secret"], at_once["previous_secret_until"]) == (made["secret"], None)
    problem = await caller.send("POST", path, {"grace_seconds": 604801})
    assert (caller.status, problem["errors"][0]["pointer"]) == (422, "/grace_seconds")


async def test_a_test_is_delivered_shown_and_replayed(caller: Caller, courier: Courier, receiver: Answers) -> None:
    made = await caller.endpoint(receiver.url)
    sent = await caller.send("POST", f"{ENDPOINTS}/{made['id']}/test")
    assert caller.status == 202
    await courier.deliver()
    [listed] = (await caller.send("GET", f"{DELIVERIES}?event_id={sent['event_id']}"))["data"]
    assert (listed["status"], listed["event_type"], listed["attempt_count"]) == (
        "delivered",
        "webhook_endpoint.tested",
        1,
    )
    path = f"{DELIVERIES}/{listed['id']}"
    shown = await caller.send("GET", path)
    assert shown["body"].encode() == receiver.requests[0].body
    assert [attempt["status_code"] for attempt in shown["attempts"]] == [204]

    replayed = await caller.send("POST", f"{path}/replay")
    assert (caller.status, replayed["status"]) == (202, "pending")
    problem = await caller.send("POST", f"{path}/replay")
    assert (caller.status, problem["code"]) == (409, "delivery_pending")
    await courier.deliver()
    assert (await caller.send("GET", path))["attempt_count"] == 2
    for request in receiver.requests:
        assert request.headers["webhook-id"] == sent["event_id"]
        Webhook(made["secret"]).verify(request.body, request.headers)


async def test_the_request_and_its_webhook_are_one_trace(caller: Caller, courier: Courier, receiver: Answers) -> None:
    made = await caller.endpoint(receiver.url)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    await caller.send("POST", f"{ENDPOINTS}/{made['id']}/test", traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    await courier.deliver()
    assert receiver.requests[0].headers["traceparent"].split("-")[1] == trace


async def test_failed_deliveries_are_listed_page_by_page(caller: Caller, courier: Courier, receiver: Answers) -> None:
    receiver.answers[:] = [http_server.response(b"no", status=500)]
    await caller.endpoint(receiver.url)
    for _ in range(3):
        await courier.happen()
    await courier.deliver()
    two = "select id from tasks where state = 'ready' order by id limit 2"
    await courier.rows(f"update tasks set attempts = 9, run_at = now() where id in ({two}) returning id")
    await courier.deliver()
    page = await caller.send("GET", f"{DELIVERIES}?status=failed&limit=1")
    [first] = page["data"]
    assert first["failure_code"] == "attempts_exhausted"
    rest = await caller.send("GET", f"{DELIVERIES}?status=failed&limit=1&cursor={page['next_cursor']}")
    assert [one["id"] for one in rest["data"]] != [first["id"]]
    assert rest["next_cursor"] is None
    problem = await caller.send("GET", f"{DELIVERIES}?status=pending&limit=1&cursor={page['next_cursor']}")
    assert (caller.status, problem["code"]) == (422, "cursor_invalid")
    await caller.send("GET", f"{DELIVERIES}?status=lost")
    assert caller.status == 422


async def test_another_organization_finds_none_of_it(
    caller: Caller, api: Api, courier: Courier, receiver: Answers, make_organization: OrganizationFactory
) -> None:
    endpoint = f"{ENDPOINTS}/{(await caller.endpoint(receiver.url))['id']}"
    await courier.happen()
    await courier.deliver()
    delivery = f"{DELIVERIES}/{(await courier.delivery())['id']}"
    other = Caller(api, await make_organization(name="Other"))
    for method, path, body in (
        ("GET", endpoint, None),
        ("PATCH", endpoint, {"description": "mine now"}),
        ("DELETE", endpoint, None),
        ("POST", f"{endpoint}/test", None),
        ("POST", f"{endpoint}/rotate-secret", None),
        ("GET", delivery, None),
        ("POST", f"{delivery}/replay", None),
    ):
        await other.send(method, path, body)
        assert other.status == 404, (method, path)
    for path in (ENDPOINTS, DELIVERIES):
        assert (await other.send("GET", path))["data"] == []


async def test_a_key_may_read_without_being_allowed_to_change(api: Api, make_organization: OrganizationFactory) -> None:
    reader = Caller(api, await make_organization(wanted=("webhooks:read",)))
    await reader.send("GET", ENDPOINTS)
    assert reader.status == 200
    problem = await reader.send("POST", ENDPOINTS, {"url": URL})
    assert (reader.status, problem["code"]) == (403, "scope_missing")
    stranger = Caller(api, await make_organization(wanted=("generations:read",)))
    await stranger.send("GET", DELIVERIES)
    assert stranger.status == 403

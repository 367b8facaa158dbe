"""API keys over real HTTP."""

import asyncio
from datetime import timedelta

from sqlalchemy import text

from api import authentication
from runtime import clock
from tests.integration.conftest import serving

PATH = "/v1/api-keys"
DRAFT = {"name": "shop", "scopes": ["generations:write", "usage:read"]}


async def create(api, organization, body, **headers):
    async with api.client.post(PATH, json=body, headers=organization.headers | headers) as answer:
        return answer, await answer.json()


async def usage(api, key):
    async with api.client.get("/v1/usage", headers={"Authorization": f"Bearer {key}"}) as answer:
        return answer.status, (await answer.json()).get("code")


async def test_a_new_key_works_and_is_shown_once(api, organization):
    answer, made = await create(api, organization, DRAFT)
    assert answer.status == 201, made
    assert await usage(api, made["secret"]) == (200, None)
    async with api.client.get(PATH, headers=organization.headers) as answer:
        listed = await answer.json()
    assert listed["data"][0] == made["api_key"]
    assert made["secret"].startswith(made["api_key"]["prefix"])
    assert made["secret"] not in str(listed)


async def test_a_repeated_request_shows_the_same_key_again_and_keeps_no_plain_copy(api, organization, system):
    _, first = await create(api, organization, DRAFT, **{"Idempotency-Key": "k"})
    answer, second = await create(api, organization, DRAFT, **{"Idempotency-Key": "k"})
    assert (answer.status, answer.headers["idempotent-replayed"]) == (201, "true")
    assert first == second
    async with system.system_transaction() as tx:
        row = (await tx.execute(text("select status, body from idempotency_keys"))).one()
        keys = await tx.scalar(text("select count(*) from api_keys where name = 'shop'"))
    assert (row.status, keys) == (201, 1)
    assert first["secret"].encode() not in row.body


async def test_requests_that_come_together_under_one_key_make_one(api, organization, system):
    done = await asyncio.gather(*(create(api, organization, DRAFT, **{"Idempotency-Key": "k"}) for _ in range(4)))
    assert {answer.status for answer, _ in done} == {201}
    assert len({made["secret"] for _, made in done}) == 1


async def test_a_request_that_takes_too_long_is_not_waited_for(api, organization, system):
    async with system.system_transaction() as tx:
        await tx.execute(
            text(
                "insert into idempotency_keys (organization_id, scope, key, fingerprint, status, body) "
                "values (:organization, 'live POST /v1/api-keys', 'k', '', 0, '')"
            ),
            {"organization": organization.id},
        )
        answer, problem = await create(api, organization, DRAFT, **{"Idempotency-Key": "k"})
    assert (answer.status, problem["code"], answer.headers["retry-after"]) == (409, "idempotency_key_busy", "1")


async def test_a_refusal_gives_the_key_back(api, organization):
    answer, _ = await create(api, organization, DRAFT | {"scopes": ["odd"]}, **{"Idempotency-Key": "k"})
    assert answer.status == 422
    answer, _ = await create(api, organization, DRAFT, **{"Idempotency-Key": "k"})
    assert (answer.status, answer.headers.get("idempotent-replayed")) == (201, None)


async def test_a_key_gives_no_more_than_it_has(api, make_organization):
    narrow = await make_organization(wanted=("keys:write", "usage:read"))
    answer, problem = await create(api, narrow, DRAFT)
    assert (answer.status, problem["code"]) == (403, "scopes_too_wide")


async def test_a_draft_that_does_not_fit_is_refused(api, organization):
    for change, code, pointer in [
        ({"scopes": ["usage:read", "all"]}, "scope_unknown", "/scopes/1"),
        ({"scopes": []}, "body_invalid", "/scopes"),
        ({"name": ""}, "body_invalid", "/name"),
        ({"environment": "staging"}, "body_invalid", "/environment"),
        ({"expires_at": "2030-01-01T00:00:00"}, "body_invalid", "/expires_at"),
    ]:
        answer, problem = await create(api, organization, DRAFT | change)
        assert (answer.status, problem["code"], problem["errors"][0]["pointer"]) == (422, code, pointer)


async def test_a_revoked_key_is_refused_although_it_was_remembered(api, organization, relay):
    _, made = await create(api, organization, DRAFT)
    assert await usage(api, made["secret"]) == (200, None)
    for _ in range(2):
        async with api.client.delete(f"{PATH}/{made['api_key']['id']}", headers=organization.headers) as answer:
            assert (answer.status, (await answer.json())["revoked_at"] is not None) == (200, True)
    async with asyncio.timeout(authentication.KEPT / 2):
        while await usage(api, made["secret"]) != (401, "api_key_invalid"):
            await asyncio.sleep(0.02)


async def test_another_organizations_key_cannot_be_revoked(api, organization, make_organization):
    other = await make_organization()
    async with api.client.delete(f"{PATH}/{other.key_id}", headers=organization.headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (404, "api_key_not_found")
    assert await usage(api, other.key) == (200, None)


async def test_an_expired_key_is_told_so(api, organization):
    soon = (clock.machine() + timedelta(seconds=0.3)).isoformat()
    _, made = await create(api, organization, DRAFT | {"expires_at": soon})
    assert await usage(api, made["secret"]) == (200, None)
    await asyncio.sleep(0.35)
    assert await usage(api, made["secret"]) == (401, "api_key_expired")


async def test_the_last_use_is_noted_when_the_api_stops_at_the_latest(settings, organization, database):
    async with serving(settings) as api:
        assert await usage(api, organization.key) == (200, None)
    async with database.read_only(organization.id) as tx:
        assert await tx.scalar(text("select last_used_at from api_keys")) is not None

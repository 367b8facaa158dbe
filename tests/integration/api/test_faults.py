"""When the database breaks off, is crowded, or throws work back."""

import asyncio
import json

from sqlalchemy import text

from api import retries

END_WHO_WAITS = """
    select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = $1 and wait_event_type = 'Lock'
"""
BADGE = {"template": "badge", "input": {"label": "A+"}}


async def cut(admin, database_name):
    """Breaks every connection that there is, those of the pool too."""
    statement = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = $1"
    broken = await admin.fetchval(statement, database_name)
    await asyncio.sleep(0.1)  # until our side has heard of it
    return broken


async def warm(api, organization):
    """Fills the pool."""
    await asyncio.gather(*(show(api, organization) for _ in range(8)))


async def show(api, organization):
    async with api.client.get("/v1/generations", headers=organization.headers) as answer:
        return answer, await answer.json()


async def accept(api, organization, **headers):
    async with api.client.post("/v1/generations", json=BADGE, headers=organization.headers | headers) as answer:
        return answer, await answer.json()


async def test_connections_that_broke_while_nobody_used_them_are_not_noticed(api, organization, admin, database_name):
    for attempt in range(2):
        await warm(api, organization)
        assert await cut(admin, database_name) >= 2
        answer, body = await accept(api, organization)
        assert answer.status == 202, body
        await cut(admin, database_name)
        answer, body = await show(api, organization)
        assert (answer.status, len(body["data"])) == (200, attempt + 1)


async def test_a_request_that_may_have_been_done_is_done_again_only_under_a_key(
    api, organization, admin, database, database_name
):
    await show(api, organization)
    for headers, expected in [({}, 503), ({"Idempotency-Key": "k"}, 202)]:
        async with database.transaction(organization.id) as tx:
            await tx.execute(text("select 1 from credit_accounts for update"))
            accepting = asyncio.create_task(accept(api, organization, **headers))
            while not await admin.fetchval(END_WHO_WAITS, database_name):
                await asyncio.sleep(0.02)
        answer, body = await accepting
        assert (answer.status, body.get("code")) == (expected, None if expected == 202 else "database_unavailable")


async def test_without_a_database_everything_is_told_to_come_back(api, organization, admin, database_name, monkeypatch):
    monkeypatch.setattr(retries, "PATIENCE", 0.1)
    await show(api, organization)
    await admin.execute(f"alter database {database_name} connection limit 0")
    await cut(admin, database_name)
    for answer, problem in (await show(api, organization), await accept(api, organization)):
        assert (answer.status, problem["code"]) == (503, "database_unavailable")
        assert answer.headers["retry-after"] == "1"
    await admin.execute(f"alter database {database_name} connection limit -1")
    assert (await accept(api, organization))[0].status == 202


async def test_a_database_that_comes_back_soon_costs_no_request_that_may_be_repeated(
    api, organization, make_organization, admin, database_name
):
    """Nor is a key unknown that cannot be looked up for a moment."""
    await show(api, organization)
    organization = await make_organization()
    await admin.execute(f"alter database {database_name} connection limit 0")
    await cut(admin, database_name)
    asking = asyncio.gather(show(api, organization), accept(api, organization, **{"Idempotency-Key": "k"}))
    await asyncio.sleep(0.3)
    assert not asking.done()
    await admin.execute(f"alter database {database_name} connection limit -1")
    assert [answer.status for answer, _ in await asking] == [200, 202]


async def test_a_crowded_pool_is_told_and_not_waited_for_for_ever(api, organization):
    await show(api, organization)
    api.resources.database.engine.pool._timeout = 0.1
    database = api.resources.database
    held = [database.engine.connect() for _ in range(5)]
    for connection in held:
        await connection.start()
    try:
        answer, problem = await show(api, organization)
    finally:
        for connection in held:
            await connection.close()
    assert (answer.status, problem["code"], answer.headers["retry-after"]) == (503, "overloaded", "1")


async def test_a_deadlock_is_resolved_by_doing_the_loser_again(api, organization, database):
    """We lock the account and then the generation, the request the other way round; PostgreSQL ends who looks first."""
    _, accepted = await accept(api, organization)
    async with database.transaction(organization.id) as tx:
        await tx.execute(text("select 1 from credit_accounts for update"))
        url = f"/v1/generations/{accepted['id']}/cancel"
        cancelling = asyncio.create_task(api.client.post(url, headers=organization.headers))
        await asyncio.sleep(0.3)
        locking = asyncio.create_task(tx.execute(text("select 1 from generations for update")))
        await locking
    async with await cancelling as answer:
        assert (answer.status, json.loads(await answer.read())["status"]) == (200, "cancelled")

"""Too much is waiting: the relay measures it, the API asks for patience. Every request goes over real HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from domain.generations import backpressure as reading
from domain.tasks import backlogs
from runtime.ids import SYSTEM_ORGANIZATION
from runtime.settings import Settings
from tests.integration.conftest import Api, Organization, OrganizationFactory, serving
from tests.integration.workers.conftest import Spine
from tests.integration.workers.relays import Recording, running, until
from workers import backpressure
from workers.backpressure import Backpressure

BADGE = {"template": "badge", "input": {"label": "A+"}}
OVERDUE = "update tasks set run_at = now() - make_interval(secs => :seconds) where state = 'ready' returning id"


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(backpressure, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(reading, "EVERY_SECONDS", 0.1)
    return msgspec.structs.replace(settings, backlog_seconds=1.0, organization_backlog_seconds=30.0, relay_sweep=0.05)


@pytest.fixture
async def api(spine: Spine) -> AsyncIterator[Api]:
    """With a relay, and no workers."""
    async with serving(spine.settings) as api, running(spine, Recording()):
        yield api


@contextlib.asynccontextmanager
async def asked(
    api: Api, organization: Organization, body: dict[str, Any] = BADGE, **headers: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with api.client.post("/v1/generations", json=body, headers=organization.headers | named) as answer:
        yield answer


async def status(api: Api, organization: Organization, body: dict[str, Any] = BADGE) -> int:
    async with asked(api, organization, body) as answer:
        return answer.status


async def is_refused(api: Api, organization: Organization, wanted: int) -> bool:
    return await status(api, organization) == wanted


async def test_while_nothing_is_taken_up_the_whole_installation_asks_for_patience(
    spine: Spine, api: Api, make_organization: OrganizationFactory
) -> None:
    async with asked(api, spine.organization, Idempotency_Key="the-first") as answer:
        assert answer.status == 202
        first = await answer.read()
    other = await make_organization(name="Other")
    await until(lambda: is_refused(api, other, 503))
    async with asked(api, other) as answer:
        assert (await answer.json())["code"] == "installation_backlogged"
        assert answer.headers["retry-after"] == "10"
    in_an_hour = (await spine.value("select now() + interval '1 hour'")).isoformat()
    assert await status(api, other, BADGE | {"run_at": in_an_hour}) == 202, "what is for later may wait"
    async with asked(api, spine.organization, Idempotency_Key="the-first") as answer:
        assert (answer.status, await answer.read()) == (202, first), "what was accepted stays accepted"
    async with asked(api, spine.organization, BADGE | {"project": "x"}, Idempotency_Key="the-first") as answer:
        assert (answer.status, (await answer.json())["code"]) == (422, "idempotency_key_reused")
    ids = [
        row[0]
        for row in await spine.rows("select id from tasks where state in ('ready', 'dispatched') and run_at <= now()")
    ]
    await spine.executor.run(ids)
    await until(lambda: is_refused(api, other, 202))


async def test_an_organization_whose_own_queue_is_too_old_waits_alone(
    spine: Spine, api: Api, make_organization: OrganizationFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backpressure, "_longest_wait", lambda *_: 0.0)
    heavy, light = spine.organization, await make_organization(name="Light")
    for _ in range(10):
        assert await status(api, heavy) == 202
    await until(lambda: _exists(spine, "select from tasks where state = 'ready'"))
    await spine.rows(OVERDUE, seconds=60)
    await until(lambda: is_refused(api, heavy, 429))
    async with asked(api, heavy) as answer:
        problem = await answer.json()
        assert (problem["code"], answer.headers["retry-after"]) == ("organization_backlogged", "30")
        assert "has waited for" in problem["detail"]
    assert await status(api, light) == 202
    await spine.rows(
        "update tasks set state = 'done', ended_at = now() where state in ('ready', 'dispatched') returning id"
    )
    await until(lambda: is_refused(api, heavy, 202))


async def test_a_queue_deeper_than_the_plan_allows_is_refused_before_it_is_old(
    spine: Spine, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backpressure, "_longest_wait", lambda *_: 0.0)
    await spine.rows("update plans set images_queued = 3 returning id")
    for _ in range(16):
        assert await status(api, spine.organization) == 202
    await until(lambda: _exists(spine, "select from tasks where state = 'ready'"))
    await spine.rows(OVERDUE, seconds=6)
    await until(lambda: is_refused(api, spine.organization, 429))


async def test_a_long_backlog_that_is_worked_off_in_turn_holds_up_nobody_else(spine: Spine) -> None:
    for _ in range(6):
        await spine.accept()
    await spine.step()
    await spine.rows(
        "update tasks set run_at = now() - make_interval(mins => 10 * id::integer) where queue = 'images' returning id"
    )
    relay = Backpressure(spine.settings)
    for _ in range(3):
        await relay.look(spine.connection)
        assert set(await backlogs.current(spine.system)) == {spine.organization.id}
        await spine.rows(
            "update tasks set state = 'done' where id = (select id from tasks where state <> 'done' "
            "and queue = 'images' order by run_at limit 1) returning id"
        )
        await asyncio.sleep(0.6)
    await asyncio.sleep(0.6)
    await relay.look(spine.connection)
    await asyncio.sleep(1.1)
    await relay.look(spine.connection)
    assert SYSTEM_ORGANIZATION in await backlogs.current(spine.system), "until nothing of it is taken up any more"


async def test_bounds_of_nought_are_none(spine: Spine) -> None:
    none = msgspec.structs.replace(spine.settings, backlog_seconds=0.0, organization_backlog_seconds=0.0)
    await spine.accept()
    await spine.step()
    relay = Backpressure(none)
    await relay.look(spine.connection)
    await spine.rows("update tasks set run_at = now() - interval '1 day' returning id")
    await asyncio.sleep(1.1)
    await relay.look(spine.connection)
    assert await backlogs.current(spine.system) == {}


async def test_what_was_measured_long_ago_says_nothing(spine: Spine) -> None:
    await backlogs.publish(spine.connection, {SYSTEM_ORGANIZATION: 500.0})
    assert await backlogs.current(spine.system) == {SYSTEM_ORGANIZATION: 500.0}
    await spine.rows("update backlogs set measured_at = now() - interval '11 seconds' returning seconds")
    assert await backlogs.current(spine.system) == {}


async def _exists(spine: Spine, query: str) -> bool:
    return bool(await spine.value(f"select exists({query})"))

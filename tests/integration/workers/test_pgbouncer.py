"""What a PgBouncer with a pool for each session may stand in front of, and what it hides."""

from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest

from bench.faults.proxy import Link
from domain.generations import lifecycle
from domain.tasks import claims, owners
from migrations import roles
from runtime import database as connections
from runtime.database import Database
from runtime.settings import Secret, Settings
from tests import pgbouncer
from tests.integration.conftest import OrganizationFactory, serving
from tests.integration.workers.conftest import BADGE, Spine


@pytest.fixture
async def pooled(settings: Settings, database_name: str, link: Link) -> AsyncIterator[Settings]:
    """Requests and tasks go through the pooler."""
    async with pgbouncer.in_front_of(link.port, user=roles.APP, database=database_name) as url:
        yield msgspec.structs.replace(settings, database_url=Secret(url))


@pytest.fixture
async def database(pooled: Settings) -> AsyncIterator[Database]:
    """Of the spine and of what makes organizations."""
    pool = Database(pooled.database_url, size=3, name="test-app")
    yield pool
    await pool.close()


async def test_requests_and_tasks_go_through_it(pooled: Settings, spine: Spine) -> None:
    headers = {"Authorization": f"Bearer {spine.organization.key}"}
    async with serving(pooled) as api:
        body = {"template": "badge", "input": BADGE}
        answers = [await api.client.post("/v1/generations", json=body, headers=headers) for _ in range(3)]
        assert [answer.status for answer in answers] == [202] * 3
        await spine.drain()
        async with api.client.get("/v1/generations", headers=headers) as answer:
            listed = (await answer.json())["data"]
    assert [each["status"] for each in listed] == ["succeeded"] * 3


async def test_row_level_security_holds_behind_it(
    pooled: Settings, spine: Spine, make_organization: OrganizationFactory
) -> None:
    """One session of PostgreSQL serves both, one after the other."""
    mine = await spine.accept()
    other = await make_organization(name="Other")
    async with serving(pooled) as api:
        for headers, status in ((spine.organization.headers, 200), (other.headers, 404)):
            async with api.client.get(f"/v1/generations/{mine}", headers=headers) as answer:
                assert answer.status == status


async def test_a_worker_sees_it_draws_no_number_and_its_lease_decides(
    spine: Spine, database_name: str, link: Link
) -> None:
    await spine.accept()
    [task] = await spine.dispatch("generations.render")
    async with pgbouncer.in_front_of(link.port, user=roles.SYSTEM, database=database_name) as url:
        connection = await connections.connect(url, name="test")
        number = await owners.draw(connection)
        await connection.close()
    assert number is None
    lease = timedelta(minutes=1)
    await claims.claim(spine.system, [task], actors=[lifecycle.RENDER], owner="host/1/x", lease=lease, number=number)
    assert await owners.lost(spine.connection) == set()
    await spine.expire_leases()
    assert (await spine.step()).recovered == 1

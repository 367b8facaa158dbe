"""Health, on both ports."""

import asyncio
import functools

import asyncpg
import msgspec

from migrations import compatibility
from runtime.settings import Secret
from storage.memory import MemoryStore
from tests.integration.conftest import serving


class AwayStore(MemoryStore):
    async def check(self) -> None:
        raise OSError("the disk is gone")


async def asked(api, url):
    async with api.client.get(url) as answer:
        return answer.status, await answer.json()


async def test_it_is_there_lives_and_is_ready(api):
    for path in ("/health", "/health/live", "/health/ready"):
        assert await asked(api, path) == (200, {"status": "ok"})
        assert await asked(api, api.operator_url + path) == (200, {"status": "ok"})


async def test_each_part_is_named_and_nothing_of_where_it_is(api):
    for base in ("", api.operator_url):
        status, told = await asked(api, f"{base}/health/detailed")
        assert (status, told["status"], set(told["parts"])) == (200, "ok", {"database", "schema", "storage", "redis"})
        assert "/dev" not in str(told)
        assert "postgres" not in str(told)


async def test_a_part_that_is_only_missed_makes_nothing_unready(settings):
    away = msgspec.structs.replace(settings, redis_url=Secret("redis://127.0.0.1:1"))
    async with serving(away, store=AwayStore()) as api:
        assert await asked(api, "/health/ready") == (200, {"status": "ok"})
        status, told = await asked(api, "/health/detailed")
    assert (status, told["status"]) == (200, "ok")
    assert {name: part["status"] for name, part in told["parts"].items()} == {
        "database": "ok",
        "schema": "ok",
        "storage": "failing",
        "redis": "failing",
    }


async def test_without_its_database_it_lives_and_is_not_ready(api, database_name, admin):
    await admin.execute(f"alter database {database_name} allow_connections false")
    await admin.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database_name}'")
    assert await asked(api, "/health/live") == (200, {"status": "ok"})
    assert await asked(api, "/health/ready") == (503, {"status": "failing"})
    status, told = await asked(api, "/health/detailed")
    assert (status, told["parts"]["database"]["status"]) == (503, "failing")


async def test_one_whose_database_was_made_for_later_releases_is_not_ready(settings):
    check = functools.partial(compatibility.check, settings.database_system_url)
    async with serving(settings, check_schema=check) as api:
        assert await asked(api, "/health/ready") == (200, {"status": "ok"})
        owner = await asyncpg.connect(settings.database_owner_url)
        await owner.execute("""comment on table alembic_version is '{"oldest": "9999"}'""")
        await owner.close()
        api.resources.examinations.clear()  # the time for which it was good is over
        assert await asked(api, "/health/ready") == (503, {"status": "failing"})
        assert await asked(api, "/health/live") == (200, {"status": "ok"})
        status, told = await asked(api, "/health/detailed")
    assert (status, told["parts"]["schema"]["status"], told["parts"]["database"]["status"]) == (503, "failing", "ok")


async def test_however_many_ask_the_database_is_asked_once(settings):
    looked, may_answer = 0, asyncio.Event()

    async def check():
        nonlocal looked
        looked += 1
        await may_answer.wait()

    async with serving(settings, check_schema=check) as api:
        paths = ["/health/ready", "/health/detailed", f"{api.operator_url}/health/ready"] * 10
        asking = [asyncio.create_task(asked(api, path)) for path in paths]
        async with asyncio.timeout(10):
            while not looked:
                await asyncio.sleep(0.01)
        may_answer.set()
        assert [status for status, _ in await asyncio.gather(*asking)] == [200] * len(paths)
        assert (await asked(api, "/health/ready"))[0] == 200
    assert looked == 1


async def test_a_process_on_its_way_out_is_not_ready(api):
    api.resources.draining.begun = True
    assert await asked(api, "/health/ready") == (503, {"status": "draining"})
    assert await asked(api, "/health/live") == (200, {"status": "ok"})
    assert (await asked(api, "/health/detailed"))[0] == 503

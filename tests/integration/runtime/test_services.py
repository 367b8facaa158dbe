"""The embedded servers through their real programs and clients."""

from pathlib import Path

import asyncpg
import redis.asyncio

from runtime.services import EmbeddedServices


def silent(_line: str) -> None:
    pass


async def test_a_second_start_finds_its_data(tmp_path: Path) -> None:
    async with EmbeddedServices(tmp_path, progress=silent, fsync=False) as first:
        database = await asyncpg.connect(first.endpoints.postgres_admin_url)
        await database.execute("create table kept as select 7 as number")
        await database.close()
        async with redis.asyncio.Redis.from_url(first.endpoints.redis_url) as cache:
            await cache.set("kept", "7")
    async with EmbeddedServices(tmp_path, progress=silent, fsync=False) as second:
        database = await asyncpg.connect(second.endpoints.postgres_admin_url)
        assert await database.fetchval("select number from kept") == 7
        await database.close()
        async with redis.asyncio.Redis.from_url(second.endpoints.redis_url) as cache:
            assert await cache.get("kept") == b"7"

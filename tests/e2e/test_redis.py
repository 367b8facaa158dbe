"""Redis carries hints and messages, and nothing that could be lost with it."""

import asyncio
import os
import signal

import redis.asyncio

from tests.e2e.customer import Customer
from tests.e2e.running import Up


async def test_a_redis_that_is_wiped_again_and_again_costs_nothing(up: Up, customer: Customer) -> None:
    async def wipe() -> None:
        async with redis.asyncio.Redis.from_url(up.contract.redis_url) as client:
            for _ in range(20):
                await client.flushall()
                await asyncio.sleep(0.05)

    wiping = asyncio.create_task(wipe())
    generations = await customer.post_many(40)
    await wiping
    await customer.wait_until_done(generations)
    assert await customer.troubled(generations) == []
    await customer.check(generations)


async def test_while_redis_does_not_answer_everything_is_accepted_and_done_later(up: Up, customer: Customer) -> None:
    pid = up.contract.pids["redis"]
    os.kill(pid, signal.SIGSTOP)
    try:
        generations = []
        for _ in range(3):
            generations += await customer.post_many(10)
            await asyncio.sleep(0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    await customer.wait_until_done(generations)
    await customer.check(generations)


async def test_a_redis_that_is_killed_loses_nothing(up: Up, customer: Customer) -> None:
    first = await customer.post_many(10)
    pid = up.contract.pids["redis"]
    os.kill(pid, signal.SIGKILL)
    second = await customer.post_many(10)
    await up.wait_for_another("redis", pid)
    await customer.wait_until_done(first + second)
    await customer.check(first + second)

"""Processes that are replaced while customers go on: no request fails, and no task notices."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp

from tests.e2e import customer as customers
from tests.e2e.customer import Customer
from tests.e2e.running import Command, Up, eventually

ROLLED = ("api", "relay", "worker-images", "worker-io")
PLANTED = "a-planted-database-password"


async def test_a_hangup_replaces_every_process_and_fails_nothing(up: Up, customer: Customer) -> None:
    before = {name: up.contract.pids[name] for name in ROLLED}
    over = asyncio.Event()
    generations: list[str] = []

    async def post_steadily(session: aiohttp.ClientSession) -> None:
        while not over.is_set():
            generations.append(await customer.post(session))
            await asyncio.sleep(0.3)

    async with customers.session_of_new_connections(up) as new_connections:
        posting = [asyncio.create_task(post_steadily(session)) for session in (customer.session, new_connections)]
        up.process.send_signal(signal.SIGHUP)
        for name in ROLLED:
            await up.wait_for_another(name, before[name])
        await eventually(lambda: "every process was replaced" in up.output)
        over.set()
        await asyncio.gather(*posting)
    await customer.wait_until_done(generations)
    assert await customer.troubled(generations) == []
    await customer.check(generations)


async def test_every_process_that_was_replaced_shows_its_metrics_where_they_were(up: Up) -> None:
    before = up.contract.pids["worker-io"], up.contract.metrics_urls
    os.kill(before[0], signal.SIGTERM)
    await up.wait_for_another("worker-io", before[0])
    assert up.contract.metrics_urls == before[1]
    shown = []
    async with aiohttp.ClientSession() as session:
        for url in before[1]:
            async with session.get(url) as answer:
                shown.append(await answer.text())
    pids = up.contract.pids
    assert [f'pid="{pids[name]}"' in text for name, text in zip(ROLLED, shown, strict=True)] == [True] * len(ROLLED)


async def test_a_second_relay_takes_over_when_the_first_is_killed(up: Up, customer: Customer, tmp_path: Path) -> None:
    """Its database password is never asked for here, and never shown."""
    address = up.contract.database_url.replace("atelier_system@", f"atelier_system:{PLANTED}@")
    second = Command(
        tmp_path,
        "relay",
        database_url=address.replace("atelier_system", "atelier_app"),
        database_system_url=address,
        redis_url=up.contract.redis_url,
    )
    try:
        await eventually(lambda: "relay ready" in second.output)
        await asyncio.sleep(0.5)
        assert "this relay leads" not in second.output
        generations = await customer.post_many(10)
        killed = up.kill_process("relay")
        generations += await customer.post_many(10)
        while "this relay leads" not in second.output:  # a successor may be quicker
            killed = up.kill_process("relay") or killed
            await asyncio.sleep(0.05)
        await customer.wait_until_done(generations)
        await up.wait_for_another("relay", killed)
        assert second.stop() == 0
        generations += await customer.post_many(10)
        await customer.wait_until_done(generations)
        await customer.check(generations)
        assert PLANTED not in second.output
    finally:
        second.kill()

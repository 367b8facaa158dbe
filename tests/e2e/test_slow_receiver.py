"""A customer whose receiver hangs harms nobody but himself."""

import asyncio
from typing import Any

import aiohttp
from aiohttp import web

from tests.e2e.customer import Customer
from tests.e2e.running import Up

HANGS_FOR = 8.0


async def test_other_customers_webhooks_arrive_while_one_receiver_hangs(up: Up, customer: Customer) -> None:
    asked = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.sleep(HANGS_FOR)
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/hook", hang)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    headers = {"Authorization": f"Bearer {up.contract.second_api_key}"}
    async with aiohttp.ClientSession(up.contract.base_url, headers=headers) as slow:
        endpoint = await _post(slow, "/v1/webhook-endpoints", {"url": url})
        try:
            for number in range(12):
                await _post(slow, "/v1/generations", {"template": "badge", "input": {"label": f"slow {number}"}})
            await asyncio.wait_for(asked.wait(), 20)
            await asyncio.sleep(0.5)
            await customer.wait_until_done(await customer.post_many(5), seconds=HANGS_FOR - 2)
        finally:
            async with slow.delete(f"/v1/webhook-endpoints/{endpoint['id']}") as answer:
                assert answer.status == 204
            await runner.cleanup()


async def _post(session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> Any:
    async with session.post(path, json=body) as answer:
        assert answer.status < 300, await answer.text()
        return await answer.json()

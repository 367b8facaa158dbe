"""A bulk operation on dead letters goes on, whatever is killed under it."""

import asyncio
import os
import signal
from typing import Any

import redis.asyncio

from tests.e2e.customer import Customer
from tests.e2e.running import Up

LETTERS = 30
OPERATIONS = "/operator/bulk-operations"
REASON = "the mail server of thirty letters is away"
# Their mails are sent: a replayed one looks, and has nothing to do.
KILL = f"""
    update tasks set state = 'dead', attempts = 6, ended_at = now(),
        failures = '[{{"at": "2026-11-20T11:00:00.000Z", "kind": "failure", "reason": "{REASON}"}}]'
    where actor = 'notifications.mail' and subject = any ($1) returning id
"""
REPLAYED = """
    select subject::bigint as id, count(*) as times from audit_entries
    where action = 'dead_letter.replayed' and details ->> 'operation' = $1 group by subject
"""


async def test_every_letter_is_replayed_once_though_workers_relay_and_redis_are_killed(
    up: Up, customer: Customer
) -> None:
    generations = await customer.post_many(LETTERS)
    await customer.wait_until_done(generations)
    dead = {row["id"] for row in await customer.books.fetch(KILL, generations)}
    assert len(dead) == LETTERS
    mine = {"actor": "notifications.mail", "reason": REASON}  # other tests may leave dead mails
    wanted = {"action": "replay", "filter": mine, "rate": 10}
    operation = (await ask(up, customer, "POST", OPERATIONS, json=wanted))["id"]
    for decided, name in enumerate(("worker-io", "relay", "worker-io"), 1):
        await until_decided(up, customer, operation, 4 * decided)
        pid = up.contract.pids[name]
        os.kill(pid, signal.SIGKILL)
        async with redis.asyncio.Redis.from_url(up.contract.redis_url) as client:
            await client.flushall()
        await up.wait_for_another(name, pid)
    await until_decided(up, customer, operation, LETTERS)
    await customer.wait_until_done(generations)
    replayed = {row["id"]: row["times"] for row in await customer.books.fetch(REPLAYED, operation)}
    assert replayed == dict.fromkeys(dead, 1)
    await customer.check(generations)


async def ask(up: Up, customer: Customer, method: str, path: str, **options: Any) -> Any:
    headers = {"authorization": f"Bearer {up.contract.operator_token}"}
    return await customer.ask(method, up.contract.operator_url + path, headers=headers, **options)


async def until_decided(up: Up, customer: Customer, operation: str, count: int) -> None:
    async with asyncio.timeout(90):
        while (found := await ask(up, customer, "GET", f"{OPERATIONS}/{operation}"))["replayed"] < count:
            assert found["status"] == "running", found
            await asyncio.sleep(0.05)

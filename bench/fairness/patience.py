"""429 and 503: when they appear, and how soon they go away."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

import aiohttp

from bench import figures
from bench.fairness.stage import Stage
from bench.figures import Figure
from bench.tenants import Tenant

ORGANIZATION_SECONDS: Final = 3.0
INSTALLATION_SECONDS: Final = 6.0
GRACE: Final = 3.0
"""Measured each second, read each second, and a second for a busy machine."""
OTHERS: Final = 60
BACKLOG: Final = 40
GIVE_UP: Final = 40.0


_numbers = itertools.count(1)


class Answer(NamedTuple):
    status: int
    code: str
    retry_after: str


async def refusals(here: Stage) -> list[Figure]:
    """`here` refuses an organization after ORGANIZATION_SECONDS, everybody after INSTALLATION_SECONDS."""
    [busy] = await here.customers("pro")
    others = itertools.cycle(await here.customers("pro", OTHERS))
    here.tell("patience: workers away until 429 and then 503, then back")
    async with aiohttp.ClientSession(here.running.contract.base_url) as session:
        await here.post({busy: 10})
        await asyncio.sleep(2)
        with here.without_image_workers():
            began = time.monotonic()
            await here.post({busy: BACKLOG})
            first = await _until(session, busy, "organization_backlogged")
            own = time.monotonic() - began
            other = await _ask(session, next(others))
            everybody = await _until_of(session, others, "installation_backlogged")
            all_of_them = time.monotonic() - began
        began = time.monotonic()
        await _until_of(session, others, "")
        back = time.monotonic() - began
        await _until(session, busy, "")
        own_back = time.monotonic() - began
    return [
        figures.at_most(
            "429 after the oldest image has waited 3 s, seen after", own, ORGANIZATION_SECONDS + GRACE, "s"
        ),
        Figure("  with Retry-After", first.retry_after, "given", first.retry_after.isdigit()),
        Figure("  other customers meanwhile", str(other.status), "202", other.status == 202),
        figures.at_most(
            "503 after nobody's turn came for 6 s, seen after", all_of_them, INSTALLATION_SECONDS + GRACE, "s"
        ),
        Figure("  with Retry-After", everybody.retry_after, "given", everybody.retry_after.isdigit()),
        figures.at_most("202 again for other customers after the workers came back", back, 2 * GRACE, "s"),
        figures.at_most("  and for the one with the backlog", own_back, 2 * GRACE, "s"),
    ]


async def _until(session: aiohttp.ClientSession, tenant: Tenant, code: str) -> Answer:
    return await _until_of(session, itertools.repeat(tenant), code)


async def _until_of(session: aiohttp.ClientSession, tenants: Iterator[Tenant], code: str) -> Answer:
    """The first answer with that code; none stands for an accepted request. Raises TimeoutError."""
    async with asyncio.timeout(GIVE_UP):
        while True:
            answer = await _ask(session, next(tenants))
            if answer.code == code:
                return answer
            await asyncio.sleep(0.1)
    raise AssertionError


async def _ask(session: aiohttp.ClientSession, tenant: Tenant) -> Answer:
    body = {"template": "badge", "input": {"label": str(next(_numbers))}}
    headers = {"Authorization": f"Bearer {tenant.api_key}"}
    async with session.post("/v1/generations", json=body, headers=headers) as answer:
        told = await answer.json(content_type=None)
        return Answer(answer.status, told.get("code", ""), answer.headers.get("Retry-After", ""))

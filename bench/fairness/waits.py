"""What a light customer waits beside a neighbour's backlog, and short reactions beside a backlog of deliveries."""

import asyncio
from typing import Final

import aiohttp

from bench import figures
from bench.fairness import stage
from bench.fairness.receivers import Behaviour, Receivers
from bench.fairness.stage import Stage
from bench.figures import Figure
from bench.tenants import Tenant

QUEUED: Final = 10_000
RATE: Final = 5.0
"""Images a second: less than the light customer's share, or the backlog that it sees were its own."""
SECONDS: Final = 22.0
"""Short enough for the backlog to last, and more than a hundred images: a 99th percentile, not the worst one."""

DELIVERIES: Final = 1_500
CANCELLED: Final = 60
ANSWER_SECONDS: Final = 0.5
"""Slow enough that deliveries wait for each other, and not so slow that they take the other lane."""

_WAITS = """
    select extract(epoch from t.started_at - g.created_at)::float as claimed,
        extract(epoch from g.ended_at - g.created_at)::float as made
    from generations g join tasks t on t.organization_id = g.organization_id and t.subject = g.id
        and t.actor = 'generations.render'
    where g.id = any ($1)
"""
_MADE = "select count(*) = cardinality($1::text[]) from generations where id = any ($1) and ended_at is not null"
_WAITING = "select count(*) from tasks where queue = 'images' and state = 'ready' and organization_id = $1"
_EXPANDED = "select not exists(select from pending_events)"
_BY_ACTOR = """
    select extract(epoch from coalesce(started_at, now()) - run_at)::float from tasks
    where actor = $1 and run_at <= now()
"""


async def light(here: Stage) -> list[Figure]:
    """The same requests at the same times, alone and then beside the backlog."""
    customer, neighbour = await here.customers("scale", 2)
    here.tell(f"a light customer: {RATE:g} images a second for {SECONDS:g} s, alone")
    await _asked(here, customer, seconds=3)
    alone = await _asked(here, customer, seconds=SECONDS)
    here.tell(f"the same beside a neighbour's {QUEUED:,}")
    with here.without_image_workers():
        await here.post({neighbour: QUEUED})
        await stage.until(lambda: here.value(_EXPANDED))
    await asyncio.sleep(1)
    beside = await _asked(here, customer, seconds=SECONDS)
    left = await here.value(_WAITING, neighbour.organization_id)
    idle, busy = (
        {name: stage.p99([row[name] for row in rows]) for name in ("claimed", "made")} for rows in (alone, beside)
    )
    return [
        figures.plain("light customer alone, p99 from accepted to with a worker", idle["claimed"], "ms"),
        figures.plain(f"  beside a neighbour's {QUEUED:,} queued ({left:,} left at the end)", busy["claimed"], "ms"),
        figures.plain("light customer alone, p99 from accepted to image", idle["made"], "ms"),
        figures.plain("  beside the neighbour's", busy["made"], "ms"),
        figures.at_most(
            "light customer's p99 wait for an image beside the backlog / alone", busy["made"] / idle["made"], 2
        ),
    ]


async def _asked(here: Stage, customer: Tenant, seconds: float) -> list[dict[str, float]]:
    sent = await here.generator([customer.api_key]).paced(RATE, seconds)
    ids = list(sent.accepted)

    async def all_made() -> bool:
        return bool(await here.value(_MADE, ids))

    await stage.until(all_made)
    return [dict(row) for row in await here.rows(_WAITS, ids)]


async def priorities(here: Stage) -> list[Figure]:
    """Cancelled generations release their holds by a short reaction, which shares its processes with deliveries."""
    async with Receivers({"slow": Behaviour(after=ANSWER_SECONDS)}) as receivers:
        [talkative] = await here.customers("scale", hooks=[receivers.hook("slow", types=())])
        [customer] = await here.customers("pro")
        here.tell(f"priorities: {DELIVERIES:,} deliveries wait, {CANCELLED} generations are cancelled")
        with here.without_image_workers():
            await here.post({talkative: DELIVERIES})
            await _cancel(here, customer)
            await asyncio.sleep(1)
            short = [row[0] for row in await here.rows(_BY_ACTOR, "generations.withdraw")]
            long = [row[0] for row in await here.rows(_BY_ACTOR, "webhooks.deliver")]
    return [
        figures.plain("p99 wait of a delivery in a backlog of them", stage.p99(long), "ms"),
        figures.at_most(
            "p99 wait of a short reaction at the same time / that", stage.p99(short) / stage.p99(long), 0.1
        ),
        figures.plain("  it is", stage.p99(short), "ms"),
    ]


async def _cancel(here: Stage, customer: Tenant) -> None:
    headers = {"Authorization": f"Bearer {customer.api_key}"}
    async with aiohttp.ClientSession(here.running.contract.base_url, headers=headers, raise_for_status=True) as session:
        for number in range(CANCELLED):
            body = {"template": "badge", "input": {"label": f"cancelled {number}"}}
            async with session.post("/v1/generations", json=body) as answer:
                generation = (await answer.json())["id"]
            async with session.post(f"/v1/generations/{generation}/cancel", json={}):
                await asyncio.sleep(0.1)

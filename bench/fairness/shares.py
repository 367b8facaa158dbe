"""Shares by weight among customers who all want more than they can have, and a plan's bound on images at once."""

import asyncio
import time
from collections import Counter
from typing import Final

import asyncpg

from bench import figures
from bench.fairness import stage
from bench.fairness.stage import Stage
from bench.figures import Figure
from bench.tenants import Tenant

LIGHTEST: Final = 50
"""Images that the lightest customer asks for; the heaviest asks for thirty times as many."""
LOADS: Final = {"free": (1, 6, 12, 18, 24), "pro": (10, 20), "scale": (30,)}
"""In units of the lightest."""

BOUND: Final = 2
BACKLOG: Final = 300
LOOKS: Final = 8.0
"""Seconds."""

_CLAIMED = """
    select organization_id, started_at from tasks
    where actor = 'generations.render' and started_at is not null order by started_at
"""
_EXHAUSTED = """
    select o.id from unnest($1::text[]) as o (id) where not exists (
        select from tasks t
        where t.organization_id = o.id and t.queue = 'images' and t.state in ('ready', 'dispatched'))
"""
_IN_HAND = """
    select count(*) from tasks
    where queue = 'images' and state in ('dispatched', 'running') and organization_id = $1
"""
_DONE = "select count(*) from tasks where actor = 'generations.render' and state = 'done' and organization_id = $1"


async def share(here: Stage) -> list[Figure]:
    wanted = {
        tenant: heaviness * LIGHTEST
        for plan, loads in LOADS.items()
        for tenant, heaviness in zip(await here.customers(plan, len(loads)), loads, strict=True)
    }
    weights = await _weights(here, list(wanted))
    here.tell(f"shares: {sum(wanted.values()):,} images of {len(wanted)} customers, loads of 1 : 30")
    with here.without_image_workers():
        await here.post(wanted)
    ids = [tenant.organization_id for tenant in wanted]

    async def exhausted() -> list[str]:
        return [row["id"] for row in await here.rows(_EXHAUSTED, ids)]

    await stage.until(exhausted)
    worst, images = _worst(await here.rows(_CLAIMED), weights, await exhausted())
    return [
        figures.at_least("worst share of what the weight entitles to, loads of 1 : 30, weights of 1 : 10", worst, 0.95),
        figures.plain("images made while all of them waited", images),
    ]


def _worst(claimed: list[asyncpg.Record], weights: dict[str, float], exhausted: list[str]) -> tuple[float, int]:
    """By what was claimed until the first of the exhausted had nothing waiting any more."""
    last = {row["organization_id"]: row["started_at"] for row in claimed}
    end = min(last[tenant] for tenant in exhausted)
    counted = Counter(row["organization_id"] for row in claimed if row["started_at"] <= end)
    images, weight = counted.total(), sum(weights.values())
    return min(counted[tenant] / (images * weights[tenant] / weight) for tenant in weights), images


async def _weights(here: Stage, wanted: list[Tenant]) -> dict[str, float]:
    rows = await here.rows(
        "select organization_id, weight from organization_shares($1)", [tenant.organization_id for tenant in wanted]
    )
    return {row["organization_id"]: row["weight"] for row in rows}


async def cap(here: Stage) -> list[Figure]:
    """With the bound of the plan `free` lowered so far that two workers could break it."""
    owner = await asyncpg.connect(here.running.settings.database_owner_url)
    await owner.execute("update plans set images_at_once = $1 where id = 'free'", BOUND)
    await owner.close()
    [bound], [other] = await here.customers("free"), await here.customers("pro")
    here.tell(f"bounds: {BACKLOG} images each of a customer who may have {BOUND} at once, and of another")
    with here.without_image_workers():
        await here.post({bound: BACKLOG, other: BACKLOG})
    most, began = 0, time.monotonic()
    while time.monotonic() - began < LOOKS:
        most = max(most, await here.value(_IN_HAND, bound.organization_id))
        await asyncio.sleep(0.02)
    done = [await here.value(_DONE, tenant.organization_id) for tenant in (bound, other)]
    return [
        figures.at_most(f"images at once of a customer whose plan gives {BOUND}, at most", most, BOUND),
        figures.plain("  made meanwhile of that customer", done[0]),
        figures.plain("  and of another one", done[1]),
    ]

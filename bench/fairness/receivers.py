"""Webhook receivers that answer, fail or hang; and what healthy ones see of the others."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, Self

import msgspec
from aiohttp import web

from bench import figures
from bench.fairness import stage
from bench.fairness.stage import Stage
from bench.figures import Figure
from bench.tenants import Hook, Tenant

HANG_SECONDS: Final = 30.0
CUSTOMERS: Final = 3
"""Of each kind: healthy, hanging, failing."""
RATE: Final = 12.0
SECONDS: Final = 25.0
ENDS: Final = ("generation.succeeded",)

_MADE = "select id, extract(epoch from ended_at)::float as at from generations where organization_id = any ($1)"


class Behaviour(msgspec.Struct):
    """Answers with `status` after so many seconds."""

    status: int = 204
    after: float = 0.0


class Receivers:
    """One host for each kind (as addresses of the loopback network), so that what one holds open is only its own.
    `came`: `time.time()` of the first delivery by kind and generation.
    """

    def __init__(self, kinds: Mapping[str, Behaviour]) -> None:
        self.kinds = kinds
        self.came: dict[str, dict[str, float]] = defaultdict(dict)
        self._urls: dict[str, str] = {}
        self._cleanup = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        for number, kind in enumerate(self.kinds, 2):
            app = web.Application()
            app.router.add_post(f"/{kind}/{{tenant}}", self._take)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            self._cleanup.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, f"127.0.0.{number}", 0, backlog=1024).start()
            self._urls[kind] = f"http://127.0.0.{number}:{runner.addresses[0][1]}/{kind}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    def hook(self, kind: str, types: tuple[str, ...] = ENDS) -> Hook:
        return Hook(self._urls[kind], types)

    async def _take(self, request: web.Request) -> web.Response:
        at, kind = time.time(), request.path.split("/")[1]
        self.came[kind].setdefault((await request.json())["data"]["id"], at)
        behaviour = self.kinds[kind]
        await asyncio.sleep(behaviour.after)
        return web.Response(status=behaviour.status)


async def healthy(here: Stage) -> list[Figure]:
    """The same load twice: all receivers well, then two thirds of them not."""
    kinds = {"healthy": Behaviour(), "hanging": Behaviour(), "failing": Behaviour()}
    async with Receivers(kinds) as receivers:
        customers = {kind: await here.customers("pro", CUSTOMERS, [receivers.hook(kind)]) for kind in kinds}
        await _told(here, receivers, customers, seconds=4)
        here.tell(f"receivers: {RATE:g} images a second for {SECONDS:g} s, all of them well")
        well = await _told(here, receivers, customers, seconds=SECONDS)
        here.tell(f"the same while a third of them hangs for {HANG_SECONDS:g} s and another third fails")
        kinds["hanging"].after, kinds["failing"].status = HANG_SECONDS, 500
        unwell = await _told(here, receivers, customers, seconds=SECONDS)
    return [
        figures.plain("p99 from image to webhook, all receivers well", stage.p99(well), "ms"),
        figures.plain(f"  healthy ones while others hang {HANG_SECONDS:g} s and others fail", stage.p99(unwell), "ms"),
        figures.at_most("healthy endpoints' p99 beside those / without", stage.p99(unwell) / stage.p99(well), 1.2),
    ]


async def _told(
    here: Stage, receivers: Receivers, customers: Mapping[str, list[Tenant]], seconds: float
) -> list[float]:
    """Seconds from each image of a healthy customer to its webhook."""
    keys = [tenant.api_key for several in zip(*customers.values(), strict=True) for tenant in several]
    sent = await here.generator(keys).paced(RATE, seconds)
    owners = [tenant.organization_id for tenant in customers["healthy"]]
    came, made = receivers.came["healthy"], {row["id"]: row["at"] for row in await here.rows(_MADE, owners)}
    wanted = [each for each in sent.accepted if each in made]

    async def all_came() -> bool:
        return came.keys() >= set(wanted)

    await stage.until(all_came)
    made = {row["id"]: row["at"] for row in await here.rows(_MADE, owners)}
    return [came[each] - made[each] for each in wanted]

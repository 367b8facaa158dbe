"""One round: an installation of its own, its API under load, and what came out at the other end."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import load, own, parts, telling, tenants, usage
from bench.load import Generator, Sent, percentile
from bench.parts import Coalesced, Rate
from bench.receiver import Receiver
from bench.telling import Tell
from bench.tenants import Hook, Tenant
from cli import installation
from cli.installation import Installation
from runtime.services import EmbeddedServices
from runtime.settings import Settings

TENANTS: Final = 100
CREDIT: Final = 10_000_000
CONNECTIONS: Final = 16
IDLE_REQUESTS: Final = 11
IDLE_PAUSE: Final = 0.5
QUIET: Final = 20.0
"""Seconds without a webhook after which what is missing counts as lost."""


class Figures(msgspec.Struct, kw_only=True):
    """Rates per second, times in milliseconds of wall clock, memory in MiB. `lost`: accepted, and no webhook came."""

    accepted_rate: float
    accept_p50: float
    accept_p99: float
    accept_cpu: float
    """CPU of the API process per accepted request."""
    completed_rate: float
    """From the first POST to the last webhook, accepting and draining."""
    half_rate: float
    half_p50: float
    half_p99: float
    webhook_rate: float
    webhook_p50: float
    webhook_p99: float
    idle_p50: float
    idle_p99: float
    alone_rate: float
    """Accepted while relay and workers stand still: the API and PostgreSQL by themselves."""
    alone_cpu: float
    """Microseconds of the process for each, here and below."""
    raw_rate: float
    raw_cpu: float
    single_rate: float
    together_rate: float
    relay_rate: float
    delivery_rate: float
    delivery_cpu: float
    redis_stopped_rate: float
    redis_frozen_rate: float
    refused: int
    lost: int
    cpu: dict[str, float]
    """Of each process per completed generation; unlike the rates, hardly changed by what else the machine does."""
    memory: dict[str, float]

    @property
    def without_redis(self) -> float:
        """How many times slower the API accepts without Redis."""
        return self.alone_rate / self.redis_stopped_rate


async def one_round(settings: Settings, seconds: float, tell: Tell) -> Figures:
    async with _bench(settings, tell) as bench:
        await bench.warm_up()
        return await bench.measure(seconds)


@contextlib.asynccontextmanager
async def _bench(settings: Settings, tell: Tell) -> AsyncIterator["Bench"]:
    """Redis is kept apart from the installation, so that it can be taken away."""
    async with contextlib.AsyncExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="atelier-bench-")))
        redis = EmbeddedServices(folder / "redis", progress=telling.silent, postgres=False)
        await cleanup.enter_async_context(redis)
        wanted = own.settings(settings, folder, redis_url=redis.endpoints.redis_url)
        tell("starting an installation of its own")
        running = await cleanup.enter_async_context(installation.running(wanted, telling.silent))
        receiver = await cleanup.enter_async_context(Receiver())
        hook = Hook(receiver.url, ("generation.succeeded",))
        made = await tenants.make(running, TENANTS, [hook], credit=CREDIT)
        generator = Generator(running.contract.base_url, load.requests([tenant.api_key for tenant in made]))
        yield Bench(running, redis, receiver, generator, made, tell)


class Bench:
    def __init__(
        self,
        running: Installation,
        redis: EmbeddedServices,
        receiver: Receiver,
        generator: Generator,
        made: Sequence[Tenant],
        tell: Tell,
    ) -> None:
        self._running = running
        self._redis = redis
        self._receiver = receiver
        self._generator = generator
        self._tenants = made
        self._tell = tell
        self._lost = 0

    async def warm_up(self) -> None:
        await self._drained(await self._generator.closed(4, total=100))

    async def measure(self, seconds: float) -> Figures:
        memory: dict[str, float] = {}
        watch = asyncio.create_task(usage.watch_memory(self._processes, memory))
        saturated, accept_cpu, cpu, completed_rate = await self._saturate(seconds)
        half = await self._paced("accept at half load", saturated.rate / 2, seconds)
        told = await self._paced("POST to webhook at half load", completed_rate / 2, seconds)
        watch.cancel()
        idle = await self._idle()
        hot, relayed, delivered = await self._parts(seconds)
        alone, raw, stopped, frozen = await self._alone(seconds)
        return Figures(
            accepted_rate=saturated.rate,
            accept_p50=percentile(saturated.latencies, 0.5),
            accept_p99=percentile(saturated.latencies, 0.99),
            accept_cpu=accept_cpu,
            completed_rate=completed_rate,
            half_rate=half.rate,
            half_p50=percentile(half.latencies, 0.5),
            half_p99=percentile(half.latencies, 0.99),
            webhook_rate=told.rate,
            webhook_p50=percentile(self._told(told), 0.5),
            webhook_p99=percentile(self._told(told), 0.99),
            idle_p50=percentile(idle, 0.5),
            idle_p99=percentile(idle, 0.99),
            alone_rate=alone.per_second,
            alone_cpu=alone.cpu,
            raw_rate=raw.per_second,
            raw_cpu=raw.cpu,
            single_rate=hot.single.per_second,
            together_rate=hot.together.per_second,
            relay_rate=relayed,
            delivery_rate=delivered.per_second,
            delivery_cpu=delivered.cpu,
            redis_stopped_rate=stopped.rate,
            redis_frozen_rate=frozen.rate,
            refused=sum(sent.refused for sent in (saturated, half, told, stopped, frozen)),
            lost=self._lost,
            cpu=cpu,
            memory=memory,
        )

    async def _saturate(self, seconds: float) -> tuple[Sent, float, dict[str, float], float]:
        """What was sent; milliseconds of the API's CPU for each; of every process for each completion; completions
        per second.
        """
        self._tell(f"saturation: {CONNECTIONS} connections for {seconds:g} s, then drained")
        pids = self._running.pids() | self._redis.pids()
        before = usage.cpu(pids)
        sent = await self._generator.closed(CONNECTIONS, seconds=seconds)
        accept_cpu = (usage.cpu(pids)["api"] - before["api"]) * 1000 / len(sent.accepted)
        await self._drained(sent)
        after = usage.cpu(pids)
        ends = [self._receiver.told[each] for each in sent.accepted if each in self._receiver.told]
        each = {name: (after[name] - before[name]) * 1000 / len(ends) for name in pids}
        return sent, accept_cpu, each, len(ends) / (max(ends) - min(sent.accepted.values()))

    async def _paced(self, what: str, rate: float, seconds: float) -> Sent:
        self._tell(f"{what}: {rate:.0f} requests a second for {seconds:g} s")
        sent = await self._generator.paced(rate, seconds)
        await self._drained(sent)
        return sent

    async def _idle(self) -> list[float]:
        self._tell(f"after idle: {IDLE_REQUESTS} requests, one each {IDLE_PAUSE + 0.5:g} s")
        found = []
        for _ in range(IDLE_REQUESTS):
            await asyncio.sleep(IDLE_PAUSE)
            sent = await self._generator.closed(1, total=1)
            await self._drained(sent)
            found += self._told(sent)
        return sorted(found)

    async def _parts(self, seconds: float) -> tuple[Coalesced, float, Rate]:
        self._tell("parts by themselves: deliveries, one hot organization, the relay")
        delivered = await parts.delivered(self._running, self._receiver)
        with parts.frozen(self._behind_the_api()):
            hot = await parts.hot_organization(self._running, self._tenants[0].organization_id, seconds / 2)
        return hot, await parts.relayed(self._running), delivered

    async def _alone(self, seconds: float) -> tuple[Rate, Rate, Sent, Sent]:
        """The API by itself, beside an app that does the least; then with no Redis, and with one that takes everything
        and says nothing.
        """
        self._tell("the API alone, and a raw ASGI app: with Redis, with Redis stopped, with Redis frozen")
        with parts.frozen(self._behind_the_api()):
            alone = await parts.accepts(self._generator, self._running.pids()["api"], seconds)
            async with parts.raw_app(self._running, self._tenants) as (generator, pid):
                raw = await parts.accepts(generator, pid, seconds)
            with parts.frozen([self._redis.pids()["redis"]]):
                frozen = await self._generator.closed(CONNECTIONS, seconds=seconds)
            await self._redis.stop()
            stopped = await self._generator.closed(CONNECTIONS, seconds=seconds)
        return alone, raw, stopped, frozen

    def _behind_the_api(self) -> list[int]:
        return [pid for name, pid in self._running.pids().items() if name in installation.BEHIND_THE_API]

    async def _drained(self, sent: Sent) -> None:
        await self._receiver.wait(sent.accepted, QUIET)
        self._lost += len(sent.accepted.keys() - self._receiver.told.keys())
        await asyncio.sleep(0.5)

    def _told(self, sent: Sent) -> list[float]:
        """Seconds from each POST to its webhook."""
        told = self._receiver.told
        return sorted(told[each] - at for each, at in sent.accepted.items() if each in told)

    def _processes(self) -> dict[str, int]:
        servers = {"postgres", "redis"}
        return {name: pid for name, pid in self._running.pids().items() if name not in servers}

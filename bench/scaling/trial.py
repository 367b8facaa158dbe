"""One trial: so many hosts, load, one of them cut off in the middle, rest, and the audit of the fault harness."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from bench import tenants
from bench.faults import audit
from bench.faults import load as loads
from bench.faults.journal import Journal
from bench.faults.load import Load, Pace
from bench.faults.observation import Database
from bench.faults.receiver import Receiver
from bench.scaling import site
from bench.scaling.network import Host, Network
from bench.scaling.site import Site
from bench.telling import Tell
from cli.invariants import Breach
from runtime.settings import Settings

PACE: Final = Pace(tenants=5, clients=8, pause=(0.2, 0.8), most_open=100)
CREDIT: Final = 1_000_000
MAIL: Final = "scaling@atelier.example"
REST: Final = 180.0
LARGE: Final = 6
"""Requests just before the cut that keep workers busy for some tenths of a second each."""

_DONE = """
    select split_part(owner, '/', 1) as host, count(*) as tasks from tasks
    where actor = $1 and state = 'done' group by 1
"""
_HELD = "select id from tasks where state = 'running' and split_part(owner, '/', 1) = $1"
_FREE = """
    select count(*) = 0 from tasks where id = any ($1) and state = 'running' and split_part(owner, '/', 1) = $2
"""
_BEGUN_AT = "select extract(epoch from started_at)::float as at from tasks where started_at is not null order by 1"
_TOOK_UP = """
    select exists(select from tasks where split_part(owner, '/', 1) = $1 and started_at > to_timestamp($2))
"""
_LEADER = """
    select host(a.client_addr) as address from pg_locks l join pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and l.granted and a.application_name = 'atelier-relay'
"""


class Cut(msgspec.Struct, frozen=True):
    """In seconds. `held`: tasks that the host had in hand; `free`: until the last of them could be had by another;
    `pause`: the longest in which no task began on any host; `back`: from the mended link to the host's first task.
    """

    held: int
    free: float
    pause: float
    back: float


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """`images` and `deliveries` by host, before the cut. `at_work`: hosts that had made an image by the end. `metrics`:
    how many of the workers' metrics were read over the network.
    """

    hosts: int
    images: dict[str, int]
    deliveries: dict[str, int]
    accepted: int
    at_work: int
    metrics: int
    cut: Cut | None
    breaches: list[Breach]

    @property
    def evenness(self) -> float:
        """What the least busy host made of its even share of the images."""
        return min(self.images.values()) / max(1, sum(self.images.values()) / self.hosts)


class Running:
    """What is there during a trial."""

    def __init__(self, here: Site, observed: Database, load: Load, tell: Tell) -> None:
        self.here = here
        self.observed = observed
        self.load = load
        self.tell = tell

    async def by_host(self, actor: str) -> dict[str, int]:
        done = {row["host"]: row["tasks"] for row in await self.observed.query(_DONE, actor)}
        return {host.name: done.get(host.name, 0) for host in self.here.hosts}

    async def leader(self) -> Host:
        """The host whose relay leads."""
        [row] = await self.observed.query(_LEADER)
        return next(host for host in self.here.hosts if host.address == row["address"])

    async def throttle(self) -> None:
        """Until cancelled: no backlog that would only make the trial longer."""
        while True:
            self.load.throttle(rest=await self.observed.open_work() > PACE.most_open)
            await asyncio.sleep(0.5)

    async def rest(self) -> None:
        """Until nothing is open, twice. Raises TimeoutError."""
        await self.load.stop()
        async with asyncio.timeout(REST):
            while await self.observed.open_work() or await self._still_open():
                await asyncio.sleep(0.3)

    async def _still_open(self) -> int:
        await asyncio.sleep(0.3)
        return await self.observed.open_work()

    async def metrics(self) -> int:
        async with aiohttp.ClientSession() as session:
            return sum([await _answers(session, url) for url in self.here.metrics_urls()])


async def run(settings: Settings, network: Network, count: int, seconds: float, cut_for: float, tell: Tell) -> Trial:
    """`seconds` of load before and after the cut. `cut_for` 0: none is cut off. The folder stays, and is named, when
    anything is broken.
    """
    folder = Path(tempfile.mkdtemp(prefix="atelier-scaling-"))
    trial = await _run(settings, network, count, seconds, cut_for, folder, tell)
    if trial.breaches:
        tell(f"logs, journals, images and the database are in {folder}")
    else:
        shutil.rmtree(folder)
    return trial


async def _run(
    settings: Settings, network: Network, count: int, seconds: float, cut_for: float, folder: Path, tell: Tell
) -> Trial:
    async with contextlib.AsyncExitStack() as cleanup:
        journals = [Journal(folder / f"{name}.jsonl") for name in ("receiver", "client", "nemesis")]
        for journal in journals:
            cleanup.callback(journal.close)
        receiver = Receiver(journals[0], network.address)
        await receiver.start()
        cleanup.push_async_callback(receiver.stop)
        here = await cleanup.enter_async_context(
            site.standing(settings, network, network.hosts(count), folder, lambda _: None)
        )
        made = await tenants.make(here, PACE.tenants, receiver.hooks(receiver.port), credit=CREDIT, notify_email=MAIL)
        observed = Database(here.settings.database_system_url)
        cleanup.push_async_callback(observed.close)
        load = Load(here.contract.base_url, made, journals[1], seed=count, pace=PACE)
        cleanup.push_async_callback(load.close)
        tell(f"{count} worker hosts, {settings.broker}: {seconds:g} s of load")
        trial = await _under_load(Running(here, observed, load, tell), seconds, cut_for)
        breaches = await audit.judge(await audit.gather(here.settings, made, folder))
    return msgspec.structs.replace(trial, breaches=breaches)


async def _under_load(running: Running, seconds: float, cut_for: float) -> Trial:
    """Not yet audited."""
    running.load.start()
    throttle = asyncio.create_task(running.throttle())
    await asyncio.sleep(seconds)
    images, deliveries = await running.by_host("generations.render"), await running.by_host("webhooks.deliver")
    cut = None
    if cut_for:
        cut = await _cut(running, await running.leader(), cut_for)
        await asyncio.sleep(seconds)
    read = await running.metrics()
    throttle.cancel()
    await running.rest()
    by_the_end = await running.by_host("generations.render")
    return Trial(
        hosts=len(running.here.hosts),
        images=images,
        deliveries=deliveries,
        accepted=running.load.accepted,
        at_work=sum(count > 0 for count in by_the_end.values()),
        metrics=read,
        cut=cut,
        breaches=[],
    )


async def _cut(running: Running, host: Host, seconds: float) -> Cut:
    """Off goes the host whose relay leads, while it has work in hand."""
    async with _busy(running):
        held = await _in_hand(running, host)
        host.cut()
        cut_at = time.time()
    running.tell(f"{host.name} is cut off with {len(held)} tasks in hand; its relay led")
    try:
        free = await _until(running, _FREE, held, host.name)
        await asyncio.sleep(max(0.0, cut_at + seconds - time.time()))
        begun = [row["at"] for row in await running.observed.query(_BEGUN_AT)]
    finally:
        host.mend()
    back = await _until(running, _TOOK_UP, host.name, time.time())
    moments = [cut_at, *(at for at in begun if at > cut_at)]
    pause = max((after - before for before, after in pairwise(moments)), default=seconds)
    running.tell(f"  free for others after {free:.1f} s, longest pause {pause:.1f} s; back at work in {back:.1f} s")
    return Cut(held=len(held), free=free, pause=pause, back=back)


@contextlib.asynccontextmanager
async def _busy(running: Running) -> AsyncIterator[None]:
    """Meanwhile large images are asked for, so that there is something in hand."""
    ended = asyncio.Event()

    async def ask(number: int) -> None:
        while not ended.is_set():
            await running.load.image(loads.large(f"before the cut {number} {time.time()}"))

    asking = [asyncio.create_task(ask(number)) for number in range(LARGE)]
    try:
        yield
    finally:
        ended.set()
        await asyncio.gather(*asking)


async def _in_hand(running: Running, host: Host) -> Sequence[int]:
    """Raises TimeoutError."""
    async with asyncio.timeout(REST):
        while not (rows := await running.observed.query(_HELD, host.name)):
            await asyncio.sleep(0.005)
    return [row["id"] for row in rows]


async def _until(running: Running, question: str, *arguments: object) -> float:
    """Seconds until the answer is yes. Raises TimeoutError."""
    began = time.monotonic()
    async with asyncio.timeout(REST):
        while not (await running.observed.query(question, *arguments))[0][0]:
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    async with session.get(url) as answer:
        return answer.status == 200 and Counter(await answer.text())["\n"] > 1

"""Single parts of a running installation, each measured by itself while the others stand still."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Final, NamedTuple

import asyncpg
import msgspec

from bench import load, usage
from bench.load import Generator
from bench.receiver import Receiver
from bench.tenants import Tenant
from cli.installation import Installation
from domain.generations import acceptance
from domain.generations.backpressure import Backpressure
from domain.generations.reception import Reception
from queue_config import queues
from queue_config.broker import build_broker
from runtime import database
from runtime.database import Database
from workers import relay
from workers.actors import generations

CALLERS: Final = 16
EVENTS: Final = 50
TASKS_PER_EVENT: Final = 100
AT_ONCE: Final = 400
"""Of the relay: the largest window that a queue of ours has."""
DELIVERIES: Final = 1_500
PATIENCE: Final = 60.0
"""Seconds after which a part that does not end is given up."""

_FILL: Final = """
    insert into tasks (organization_id, event_id, actor, target, subject, queue)
    select e.organization_id, e.id, $3, 'bench ' || n, e.subject, $4
    from (select distinct on (organization_id) * from events limit $1) e cross join generate_series(1, $2::integer) n
"""
_TAKE: Final = "update tasks set state = 'done', ended_at = now() where state = 'dispatched' and queue = $1"
_TELL: Final = """
    with told as (
        insert into events (organization_id, id, type, version, subject, correlation_id, data)
        select organization_id, new_id('evt'), 'generation.succeeded', 1, id, id,
            '{"asset": "", "credits": 1, "reused": false}'
        from generations where status = 'succeeded' limit $1
        returning organization_id, id, type
    ), pending as (
        insert into pending_events (event_id, organization_id, type) select id, organization_id, type from told
    )
    select count(*) from told
"""
_WAITING: Final = "select count(*) from tasks where actor = 'webhooks.deliver' and state in ('ready', 'dispatched')"


class Rate(NamedTuple):
    """`cpu` is microseconds of the process for each."""

    per_second: float
    cpu: float


class Coalesced(NamedTuple):
    """Of one organization that many callers ask at once: accepts one by one, and together."""

    single: Rate
    together: Rate


@contextlib.contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def accepts(generator: Generator, pid: int, seconds: float) -> Rate:
    """Of one process that serves HTTP, from as many connections as the whole has."""
    before = usage.cpu({"it": pid})["it"]
    sent = await generator.closed(CALLERS, seconds=seconds)
    return Rate(sent.rate, (usage.cpu({"it": pid})["it"] - before) * 1e6 / len(sent.accepted))


@contextlib.asynccontextmanager
async def raw_app(running: Installation, tenants: Sequence[Tenant]) -> AsyncIterator[tuple[Generator, int]]:
    """See `bench/raw_app.py`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.raw_app", "--database", str(running.settings.database_url)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    keys = {tenant.api_key: tenant.organization_id for tenant in tenants}
    process.stdin.write(msgspec.json.encode(keys) + b"\n")
    try:
        address = (await process.stdout.readline()).decode().strip()
        yield Generator(address, load.requests(list(keys))), process.pid
    finally:
        process.stdin.close()
        await process.wait()


async def hot_organization(running: Installation, organization: str, seconds: float) -> Coalesced:
    """The accept alone, in this process: what coalescing is worth to one organization."""
    pool = Database(running.settings.database_url, size=CALLERS, name="atelier-bench")
    reception = Reception(pool, Backpressure())
    checked = acceptance.check(acceptance.Request(template="badge", input={"label": "hot"}))

    async def alone() -> None:
        await acceptance.accept(pool, organization, checked, key=None, traceparent=None)

    async def together() -> None:
        await reception.accept(organization, checked, key=None, traceparent=None)

    async def rate(accept: Callable[[], Awaitable[None]]) -> Rate:
        began, cpu, done = time.monotonic(), time.process_time(), 0

        async def caller() -> None:
            nonlocal done
            while time.monotonic() - began < seconds:
                await accept()
                done += 1

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        return Rate(done / (time.monotonic() - began), (time.process_time() - cpu) * 1e6 / done)

    try:
        return Coalesced(await rate(alone), await rate(together))
    finally:
        await pool.close()


async def relayed(running: Installation) -> float:
    """Tasks a second that the relay's steps make into messages, while many organizations have many waiting. The relay
    itself stands still: its steps are done here, and what they sent is taken away between them, unmeasured.
    """
    queue, actor = queues.LIFECYCLE, generations.withdraw.name
    arguments = relay.arguments(running.settings)._replace(
        queues=msgspec.json.encode([{"queue": queue.name, "size": AT_ONCE, "capped": False, "lane": None}]).decode()
    )
    broker = build_broker(running.settings)
    async with _as_owner(running) as owner, _as_relay(running, owner) as connection:
        await owner.execute(_FILL, EVENTS, TASKS_PER_EVENT, actor, queue.name)
        sent, seconds = 0, 0.0
        while sent < EVENTS * TASKS_PER_EVENT:
            began = time.perf_counter()
            step = relay.read_step(await connection.fetchrow(relay.STEP, *arguments))
            broker.enqueue_many(list(relay.sendable(step)))
            seconds += time.perf_counter() - began
            sent += sum(len(sending.tasks) for sending in step.messages)
            await owner.execute(_TAKE, queue.name)
    broker.close()
    return sent / seconds


async def delivered(running: Installation, receiver: Receiver) -> Rate:
    """Webhooks of one io worker: claimed, built, kept, signed, sent and recorded. Images that were made before are told
    of once more.
    """
    pids = running.pids()
    io, others = pids["worker-io"], [pids["api"], pids["worker-images"]]
    async with asyncio.timeout(PATIENCE), _as_owner(running) as owner:
        with frozen(others):
            with frozen([io]):
                count = await owner.fetchval(_TELL, DELIVERIES)
                while await owner.fetchval(_WAITING) < count:
                    await asyncio.sleep(0.05)
                before, cpu = receiver.taken, usage.cpu({"io": io})["io"]
            began = time.monotonic()
            while receiver.taken - before < count:
                await asyncio.sleep(0.005)
            seconds = time.monotonic() - began
    return Rate(count / seconds, (usage.cpu({"io": io})["io"] - cpu) * 1e6 / count)


@contextlib.asynccontextmanager
async def _as_owner(running: Installation) -> AsyncIterator[asyncpg.Connection]:
    connection = await database.connect(str(running.settings.database_owner_url), name="atelier-bench")
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def _as_relay(running: Installation, owner: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """The relay loses its session, and with it the lead, and gets both again afterwards."""
    with frozen([running.pids()["relay"]]):
        await owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'atelier-relay'"
        )
        connection = await database.connect(running.settings.database_system_url, name="atelier-bench", flush=False)
        try:
            yield connection
        finally:
            await connection.close()

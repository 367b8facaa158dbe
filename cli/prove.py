"""`atelier prove`: 200 images, each asked for twice under one Idempotency-Key, while a worker is killed and Redis, or
RabbitMQ, is wiped; then an audit by SQL, by files and by what the webhook receiver saw.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import msgspec
import redis.asyncio

from cli import audit, demo, installation
from cli.audit import Verdict
from cli.installation import Installation
from cli.receiver import Received, Receiver
from queue_config import queues
from queue_config.rabbitmq_broker import RabbitmqBroker
from runtime.settings import Settings

AT_ONCE = 8
PATIENCE = 100.0
TEMPLATE = "badge"


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Exit status 0 when nothing was lost or doubled, else 1. Everything it runs on is its own, whatever is configured:
    what it wipes must never be the operator's. Only `--configured-broker` says otherwise, and of the broker alone.
    """
    with tempfile.TemporaryDirectory(prefix="atelier-prove-") as folder:
        own = Settings(data_dir=Path(folder), port=0, operator_port=0, log_level=settings.log_level)
        if given.configured_broker:
            own = msgspec.structs.replace(own, broker=settings.broker, rabbitmq_url=settings.rabbitmq_url)
        return asyncio.run(_prove(own, given.images))


async def _prove(settings: Settings, images: int) -> int:
    began = time.perf_counter()

    def progress(line: str) -> None:
        print(f"{time.perf_counter() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    async with (
        demo.listening() as receiver,
        installation.running(demo.reaching(settings, receiver), progress) as running,
    ):
        async with demo.client(running) as session:
            receiver.secret = await demo.endpoint(session, receiver.url)
            sent = time.perf_counter()
            ids = await _load(session, running, images, progress)
            progress(f"{images} accepted; waiting for the last webhook")
            await _wait(receiver, ids)
        verdict = await audit.audit(running, ids, receiver.received)
        progress("stopping")
    _print(verdict, images, time.perf_counter() - sent, receiver.received)
    return 0 if verdict.sound(images) else 1


async def _load(
    session: aiohttp.ClientSession, running: Installation, images: int, progress: demo.Progress
) -> list[str]:
    """The generations' ids. A worker dies at a third of the way, Redis is wiped at two thirds."""
    places = asyncio.Semaphore(AT_ONCE)
    accepted: list[str] = []
    milestones = {images // 3: asyncio.Event(), images * 2 // 3: asyncio.Event()}
    harm = asyncio.create_task(_harm(running, list(milestones.values()), progress))

    async def one(number: int) -> None:
        async with places:
            first, second = await asyncio.gather(_post(session, number), _post(session, number))
            if first != second:
                raise RuntimeError(f"one Idempotency-Key was answered with two generations: {first}, {second}")
            accepted.append(first)
            if (milestone := milestones.get(len(accepted))) is not None:
                milestone.set()

    await asyncio.gather(*(one(number) for number in range(images)))
    await harm
    return accepted


async def _harm(running: Installation, milestones: Sequence[asyncio.Event], progress: demo.Progress) -> None:
    await milestones[0].wait()
    for name in ("worker-images", "worker-io"):
        os.kill(running.pids()[name], signal.SIGKILL)
    progress("killed both workers (SIGKILL)")
    await milestones[1].wait()
    progress(await _wipe(running.settings))


async def _wipe(settings: Settings) -> str:
    """Takes all that the broker has; says how."""
    if settings.broker == "rabbitmq":
        await asyncio.to_thread(_delete_queues, settings)
        return "wiped RabbitMQ (deleted its queues)"
    async with redis.asyncio.Redis.from_url(settings.redis_url) as broker:
        await broker.flushall()
    return "wiped Redis (FLUSHALL)"


def _delete_queues(settings: Settings) -> None:
    broker = RabbitmqBroker(settings.rabbitmq_url, queues.QUEUES)
    try:
        broker.delete_queues()
    finally:
        broker.close()


async def _post(session: aiohttp.ClientSession, number: int) -> str:
    """Asks until it is answered, as a careful client does."""
    body = {"template": TEMPLATE, "input": {"label": str(number)}}
    for _ in range(20):
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with session.post(
                "/v1/generations", json=body, headers={"Idempotency-Key": f"prove-{number}"}
            ) as answer:
                if answer.status == 202:
                    return str((await answer.json())["id"])
                if answer.status < 500 and answer.status != 409:
                    raise RuntimeError(f"refused with {answer.status}: {await answer.text()}")
        await asyncio.sleep(0.2)
    raise RuntimeError("the API did not take a request in 20 tries")


async def _wait(receiver: Receiver, ids: list[str]) -> None:
    """Until each generation's end was told, or patience is over (the audit then says what is missing)."""
    missing = set(ids)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while missing:
                missing -= {received.subject for received in list(receiver.received) if received.is_end}
                await asyncio.sleep(0.1)


def _print(verdict: Verdict, images: int, seconds: float, received: list[Received]) -> None:
    deliveries = Counter(got.id for got in received)
    again = sum(count - 1 for count in deliveries.values())
    print(f"""
  asked for twice           {images:>6}
  generations               {verdict.generations:>6}
  images in the store       {verdict.images:>6}   checksums right: {"yes" if not verdict.damaged else verdict.damaged}
  charges                   {verdict.charges:>6}   holds left open: {verdict.open_holds}
  webhooks, verified        {verdict.webhooks:>6}   sent again with the same id: {again}
  doubled                   {verdict.doubled:>6}
  tasks dead                {verdict.dead:>6}
  seconds                   {seconds:>6.1f}
""")
    print(f"{verdict.images} images, {verdict.charges} charges, {verdict.webhooks} verified webhooks, "
          f"{verdict.lost} lost")  # fmt: skip

"""The random part: blows at random targets at random moments, all drawn from one seed."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Final, NamedTuple

import psutil  # type: ignore[import-untyped]
import redis.asyncio

from bench.faults.journal import Journal, Struck
from bench.faults.load import Load, large
from bench.faults.observation import Database
from bench.rabbitmq_server import RabbitmqServer
from cli.installation import Installation

BLOWS: Final = {
    "kill api": 3,
    "kill relay": 3,
    "kill worker-images": 3,
    "kill worker-io": 3,
    "kill render child": 2,
    "kill redis": 2,
    "kill postgres": 2,
    "flush redis": 3,
    "stop worker-images": 1,
    "stop worker-io": 1,
    "freeze worker-images": 1,
    "freeze worker-io": 1,
}
"""How often each is drawn. `kill` is SIGKILL, `stop` SIGTERM, `freeze` SIGSTOP until after the lease's end."""

_POISON_PATIENCE: Final = 120.0


class Blow(NamedTuple):
    """`pause` seconds after the one before."""

    pause: float
    name: str


def plan(seed: int, seconds: float, gap: float, broker: str) -> list[Blow]:
    """For `seconds`, one blow each `gap` on average: each kind in turn first, then what is drawn. The same ones for any
    broker.
    """
    drawing = random.Random(f"nemesis {seed}")
    names = drawing.sample(list(BLOWS), len(BLOWS))
    names += drawing.choices(list(BLOWS), weights=list(BLOWS.values()), k=1 + int(2 * seconds / gap))
    pauses = [drawing.uniform(0.5 * gap, 1.5 * gap) for _ in names]
    blows, elapsed = [], 0.0
    for pause, name in zip(pauses, names, strict=True):
        elapsed += pause
        if elapsed > seconds:
            break
        blows.append(Blow(pause, name.replace("redis", broker)))
    return blows


class Nemesis:
    """Every blow is written to the journal before it falls."""

    def __init__(
        self,
        running: Installation,
        observed: Database,
        load: Load,
        journal: Journal,
        tell: Callable[[str], None],
        rabbitmq: RabbitmqServer | None,
    ) -> None:
        self._running = running
        self._observed = observed
        self._load = load
        self._journal = journal
        self._tell = tell
        self._rabbitmq = rabbitmq
        self._rabbitmq_away = False
        self._healing: set[asyncio.Task[None]] = set()

    async def strike(self, blows: list[Blow]) -> None:
        """Returns when everything that was frozen has thawed, and RabbitMQ is back."""
        for blow in blows:
            await asyncio.sleep(blow.pause)
            await self._deal(blow.name)
        if self._healing:
            await asyncio.wait(self._healing)

    async def poison(self) -> None:
        """A generation whose render kills every worker that takes it, until no more try."""
        _, generation = await self._load.image(large("what kills its worker"), what="poison")
        killed: set[int] = set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POISON_PATIENCE):
                while not generation or not await self._has_ended(generation, killed):
                    await asyncio.sleep(0.005)

    async def _has_ended(self, generation: str, killed: set[int]) -> bool:
        render = await self._observed.render_of(generation)
        if render is None:
            return False
        if render.state == "running" and render.pid in self._running.pids().values() and render.pid not in killed:
            killed.add(render.pid)
            self._tell("poison kills its worker")
            self._kill("poison", render.pid)
        return render.state in {"done", "dead", "cancelled"}

    async def _deal(self, name: str) -> None:
        self._tell(name)
        verb, _, target = name.partition(" ")
        if self._rabbitmq is not None and target == "rabbitmq":
            self._heal(self._restart_rabbitmq(name, self._rabbitmq))
            return
        if verb == "flush":
            await self._flush()
            return
        pid = await self._pid(target)
        if verb == "kill":
            self._kill(name, pid)
        elif verb == "stop":
            self._signal(name, pid, signal.SIGTERM)
        else:
            self._heal(self._freeze(name, pid))

    def _heal(self, work: Coroutine[None, None, None]) -> None:
        healing = asyncio.create_task(work)
        self._healing.add(healing)
        healing.add_done_callback(self._healing.discard)

    async def _pid(self, target: str) -> int:
        """0 when it has none within some seconds: it is being started again."""
        if target == "render child":
            parent = await self._pid("worker-images")
            with contextlib.suppress(psutil.Error):
                children = psutil.Process(parent).children() if parent else []
                return max((child.pid for child in children), default=0)
            return 0
        for _ in range(100):
            if pid := self._running.pids().get(target):
                return pid
            await asyncio.sleep(0.05)
        return 0

    def _kill(self, name: str, pid: int) -> None:
        self._signal(name, pid, signal.SIGKILL)

    def _signal(self, name: str, pid: int, number: signal.Signals) -> None:
        self._journal.write(Struck(at=time.time(), blow=name, pid=pid))
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def _freeze(self, name: str, pid: int) -> None:
        self._signal(name, pid, signal.SIGSTOP)
        await asyncio.sleep(self._running.settings.lease_seconds + 2)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    async def _restart_rabbitmq(self, name: str, server: RabbitmqServer) -> None:
        """`kill` leaves its queues and what they hold, `flush` takes all of that too. Not while it is away."""
        pid = 0 if self._rabbitmq_away else server.pid
        self._journal.write(Struck(at=time.time(), blow=name, pid=pid))
        if pid:
            self._rabbitmq_away = True
            server.kill()
            if name.startswith("flush"):
                server.forget()
            server.launch()
            await asyncio.to_thread(server.wait_until_ready)
            self._rabbitmq_away = False

    async def _flush(self) -> None:
        self._journal.write(Struck(at=time.time(), blow="flush redis"))
        with contextlib.suppress(redis.RedisError, OSError):
            async with redis.asyncio.Redis.from_url(self._running.settings.redis_url) as client:
                await client.flushall()

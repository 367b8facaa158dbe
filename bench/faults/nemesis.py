"""Deals the blows of a plan (`harms.py`), and mends in the end what it has harmed."""

import asyncio
import contextlib
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import asyncpg
import psutil  # type: ignore[import-untyped]
import redis.asyncio

from bench.faults import clocks
from bench.faults.disk import Disk
from bench.faults.harms import APPLICATIONS, Blow
from bench.faults.journal import Journal, Struck, Woken
from bench.faults.load import Load, large
from bench.faults.observation import Database
from bench.faults.surroundings import Surroundings
from cli.installation import Installation
from runtime import database
from runtime.processes import StartError

LOST_AT_ONCE: Final = 4
"""Answers that one `lose` swallows, if so many come within its time."""
BRIEF: Final = 4.0
"""Seconds of a harm that slows work down but stops none."""
BACKENDS: Final = """
    select pid, application_name from pg_stat_activity
    where usename like 'atelier_%' and application_name not in ('atelier-faults', 'atelier-audit') order by pid
"""
_POISON_PATIENCE: Final = 120.0
_AWAY: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Nemesis:
    """Every blow is written to the journal before it falls."""

    def __init__(
        self,
        running: Installation,
        around: Surroundings,
        disk: Disk,
        observed: Database,
        load: Load,
        journal: Journal,
        tell: Callable[[str], None],
    ) -> None:
        self._running = running
        self._around = around
        self._disk = disk
        self._observed = observed
        self._load = load
        self._journal = journal
        self._tell = tell
        self._lease = running.settings.lease_seconds
        self._rabbitmq_away = False
        self._rolling: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._healing: set[asyncio.Task[None]] = set()

    async def strike(self, blows: list[Blow]) -> None:
        """Returns when everything is mended: thawed, in time again, connected, and back."""
        for blow in blows:
            await asyncio.sleep(blow.pause)
            self._tell(blow.name)
            healing = asyncio.create_task(self._deal(blow))
            self._healing.add(healing)
            healing.add_done_callback(self._healing.discard)
        await asyncio.gather(*self._healing)

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
            self._signal("poison", render.pid, signal.SIGKILL)
        return render.state in {"done", "dead", "cancelled"}

    async def _deal(self, blow: Blow) -> None:
        rabbitmq = self._around.rabbitmq is not None and blow.target == "rabbitmq"
        match blow.verb:
            case "kill" | "flush" if rabbitmq:
                await self._restart_rabbitmq(blow)
            case "kill":
                self._signal(blow.name, await self._pid(blow), signal.SIGKILL)
            case "stop":
                self._signal(blow.name, await self._pid(blow), signal.SIGTERM)
            case "freeze":
                await self._freeze(blow)
            case "flush":
                await self._flush(blow)
            case "end" if not rabbitmq:
                await (self._end_clients(blow) if blow.target == "redis" else self._end_backends(blow))
            case "fill":
                await self._fill(blow)
            case "skew":
                await self._skew(blow)
            case "lose":
                await self._lose(blow)
            case _:
                await self._harm_link(blow)

    def _note(self, name: str, pid: int | None = None, what: str = "") -> None:
        self._journal.write(Struck(at=time.time(), blow=name, pid=pid, what=what))

    def _signal(self, name: str, pid: int, number: signal.Signals) -> None:
        self._note(name, pid)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def _pid(self, blow: Blow) -> int:
        """0 when it has none within some seconds: it is being started again."""
        if blow.target == "backend":
            backends = await self._backends()
            return backends[int(blow.luck * len(backends))][0] if backends else 0
        if blow.target == "render child":
            parent = await self._pid(blow._replace(name="kill worker-images"))
            with contextlib.suppress(psutil.Error):
                children = psutil.Process(parent).children() if parent else []
                return max((child.pid for child in children), default=0)
            return 0
        for _ in range(100):
            if pid := (self._around.pids() | self._running.pids()).get(blow.target):
                return pid
            await asyncio.sleep(0.05)
        return 0

    async def _backends(self) -> list[tuple[int, str]]:
        """PostgreSQL's own processes, each with the name of its client."""
        with contextlib.suppress(*_AWAY):
            connection = await database.connect(self._around.direct.database_admin_url, name="atelier-faults")
            try:
                return [tuple(row) for row in await connection.fetch(BACKENDS)]
            finally:
                await connection.close()
        return []

    async def _freeze(self, blow: Blow) -> None:
        pid = await self._pid(blow)
        held = await self._busy(pid) if blow.target.startswith("worker") else {}
        self._signal(blow.name, pid, signal.SIGSTOP)
        await asyncio.sleep(self._lease + 2)
        if held:
            with contextlib.suppress(TimeoutError):  # PostgreSQL may wait for the very backend that is frozen
                async with asyncio.timeout(BRIEF):
                    now = await self._observed.tokens(held)
                    self._journal.write(Woken(at=time.time(), blow=blow.name, pid=pid, held=held, now=now))
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    async def _busy(self, pid: int) -> dict[int, int]:
        """What the process holds, as soon as it holds anything, or after some seconds."""
        held: dict[int, int] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BRIEF):
                while not (held := await self._observed.held_by(pid)):
                    await asyncio.sleep(0.005)
        return held

    async def _end_backends(self, blow: Blow) -> None:
        """All of one client."""
        backends = await self._backends()
        clients = sorted({name for _, name in backends})
        chosen = clients[int(blow.luck * len(clients))] if clients else ""
        self._note(blow.name, None if backends else 0, chosen)
        with contextlib.suppress(*_AWAY):
            connection = await database.connect(self._around.direct.database_admin_url, name="atelier-faults")
            try:
                for pid, name in backends:
                    if name == chosen:
                        await connection.execute("select pg_terminate_backend($1)", pid)
            finally:
                await connection.close()

    async def _end_clients(self, blow: Blow) -> None:
        self._note(blow.name)
        await self._ask_redis("client", "kill", "type", "pubsub" if blow.luck < 0.5 else "normal")

    async def _flush(self, blow: Blow) -> None:
        self._note(blow.name)
        await self._ask_redis("flushall")

    async def _ask_redis(self, *command: str) -> None:
        with contextlib.suppress(redis.RedisError, OSError):
            async with redis.asyncio.Redis.from_url(self._around.direct.redis_url) as client:
                await client.execute_command(*command)

    async def _restart_rabbitmq(self, blow: Blow) -> None:
        """`kill` leaves its queues and what they hold, `flush` takes all of that too. Not while it is away."""
        server = self._around.rabbitmq
        assert server is not None
        pid = 0 if self._rabbitmq_away else server.pid
        self._note(blow.name, pid)
        if pid:
            self._rabbitmq_away = True
            server.kill()
            if blow.verb == "flush":
                server.forget()
            server.launch()
            await asyncio.to_thread(server.wait_until_ready)
            self._rabbitmq_away = False

    async def _fill(self, blow: Blow) -> None:
        self._note(blow.name, what=self._disk.how)
        try:
            for _ in range(10):
                await asyncio.to_thread(self._disk.fill)
                await asyncio.sleep(blow.between(0.2, 0.8))
        finally:
            await asyncio.to_thread(self._disk.clear)

    async def _skew(self, blow: Blow) -> None:
        """Replaced by one that is wrong, which is stopped when its time has come: what follows it is right again."""
        skew = clocks.SKEW if blow.luck < 0.5 else -clocks.SKEW
        async with self._rolling[blow.target]:
            with contextlib.suppress(StartError):
                await self._running.roll(blow.target, env=clocks.environment(_found_clock(), skew))
            pid = self._running.pids().get(blow.target, 0)
            self._note(blow.name, pid, f"{skew:+d} s")
            await asyncio.sleep(self._lease)
            if pid and self._running.pids().get(blow.target) == pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)

    async def _lose(self, blow: Blow) -> None:
        link = self._around.links["receiver" if blow.target == "receiver" else "postgres"]
        kind = "lost answer" if blow.target == "receiver" else "lost commit"
        link.ambush(
            APPLICATIONS[blow.target], LOST_AT_ONCE, lambda _, what: self._note(f"{kind} {blow.target}", what=what)
        )
        await asyncio.sleep(BRIEF)
        link.call_off(APPLICATIONS[blow.target])

    async def _harm_link(self, blow: Blow) -> None:
        link = self._around.links[blow.target]
        self._note(blow.name)
        if blow.verb == "half-open":
            await link.forsake(self._lease + 2, client=blow.luck < 0.5)
            return
        try:
            match blow.verb:
                case "cut" | "end":
                    link.refuses = blow.luck < 0.5
                    link.cut()
                case "hold":
                    link.hold(held=True)
                case "slow":
                    link.delay = blow.between(0.02, 0.5)
                case "drip":
                    link.rate = round(blow.between(500, 5000))
            longest = self._lease + 2 if blow.verb == "hold" else BRIEF
            await asyncio.sleep(blow.between(BRIEF / 2, longest))
        finally:
            link.mend()


def _found_clock() -> Path:
    found = clocks.library()
    assert found is not None, "a plan without it has no such blow"
    return found

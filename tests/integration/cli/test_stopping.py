"""Processes that are told to stop while PostgreSQL cannot be reached: each ends by itself, soon and in order, and what
they held is done by those that come after them.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import aiohttp
import msgspec
import pytest

from api import server
from bench.faults.proxy import Link
from cli.installation import COMMANDS, to_environment
from runtime.processes import Process, Supervisor
from runtime.settings import Secret, Settings
from tests import renderers
from tests.integration.conftest import Organization

BADGE = {"template": "badge", "input": {"label": "A+"}}


def refuse(link: Link) -> None:
    """As of a server that was killed."""
    link.refuses = True
    link.cut()


def fall_silent(link: Link) -> None:
    """As of a host that has lost its power."""
    link.hold(held=True)


class Installation:
    def __init__(self, settings: Settings, folder: Path) -> None:
        self.ended: dict[str, str] = {}
        """How the first life of each ended; the next one may find no database."""
        self._sockets = tuple(server.bind(settings.host, 0) for _ in range(2))
        self.url = f"http://{settings.host}:{self._sockets[0].getsockname()[1]}"
        self._supervisor = Supervisor(self._hear)
        own = {"smtp_url": Secret("smtp://127.0.0.1:9"), "lease_seconds": 2, "shutdown_timeout": 3}
        complete = msgspec.structs.replace(settings, **own)
        self._processes = [self._process(name, complete, folder) for name in COMMANDS]

    @property
    def pids(self) -> dict[str, int]:
        return self._supervisor.pids()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Installation"]:
        with contextlib.ExitStack() as sockets:
            for each in self._sockets:
                sockets.enter_context(each)
            async with self._supervisor:
                await self._supervisor.start(*self._processes)
                yield self

    async def all_ended(self) -> None:
        for process in self._processes:
            try:
                await until(partial(self.ended.__contains__, process.name))
            except TimeoutError:
                pytest.fail(f"{process.name} still runs; its log: {process.log.read_text()}")

    def _hear(self, said: str) -> None:
        name, _, ending = said.partition(";")[0].partition(" ")
        self.ended.setdefault(name, ending)

    def _process(self, name: str, settings: Settings, folder: Path) -> Process:
        return Process(
            name=name,
            argv=(sys.executable, "-m", "cli.main", *COMMANDS[name]),
            log=folder / f"{name}.log",
            env={**os.environ, **to_environment(settings)},
            sockets=self._sockets if name == "api" else (),
        )


@pytest.mark.slow
@pytest.mark.parametrize("go_away", [refuse, fall_silent])
async def test_all_processes_end_in_order_though_postgresql_is_away(
    through: Settings, link: Link, tmp_path: Path, organization: Organization, go_away: Callable[[Link], None]
) -> None:
    async with (
        Installation(through, tmp_path).running() as installation,
        aiohttp.ClientSession(installation.url, headers=organization.headers) as client,
    ):
        children = renderers.of(installation.pids["worker-images"])
        for child in children:
            child.suspend()
        for _ in children:
            (await client.post("/v1/generations", json=BADGE, raise_for_status=True)).release()
        await until_all_are(client, "running")
        go_away(link)
        for pid in installation.pids.values():
            os.kill(pid, signal.SIGTERM)
        await installation.all_ended()
        assert installation.ended == dict.fromkeys(COMMANDS, "ended with status 0")
        assert not any(child.is_running() for child in children)
        link.mend()
        await until_all_are(client, "succeeded")


async def until_all_are(client: aiohttp.ClientSession, status: str) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get("/v1/generations", raise_for_status=True) as answer:
                    if {each["status"] for each in (await answer.json())["data"]} == {status}:
                        return
            await asyncio.sleep(0.1)


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_true():
            await asyncio.sleep(0.02)

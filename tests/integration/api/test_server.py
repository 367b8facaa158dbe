"""The API as a process of its own: how it starts, stops, and is replaced under load."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import msgspec
import pytest

from api import server
from cli.installation import to_environment
from runtime.processes import Process, Supervisor
from runtime.settings import Settings

BADGE = {"template": "badge", "input": {"label": "A+"}}


@dataclass
class Running:
    supervisor: Supervisor
    url: str
    said: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.supervisor.pids()["api"]

    async def gone(self) -> str:
        """How it ended, in the words of its supervisor, which then starts it again."""
        async with asyncio.timeout(60):
            while not self.said:
                await asyncio.sleep(0.02)
        return self.said[0]


@contextlib.asynccontextmanager
async def started(settings, folder, **given: str) -> AsyncIterator[Running]:
    sockets = (server.bind(settings.host, 0), server.bind(settings.host, 0))
    url = f"http://{settings.host}:{sockets[0].getsockname()[1]}"
    said: list[str] = []
    process = Process(
        name="api",
        argv=(sys.executable, "-m", "cli.main", "api"),
        log=folder / "api.log",
        env={**os.environ, **to_environment(settings), "PYTHONWARNINGS": "default", **given},
        sockets=sockets,
    )
    async with Supervisor(said.append) as supervisor:
        await supervisor.start(process)
        yield Running(supervisor, url, said)
    for each in sockets:
        each.close()


@pytest.fixture
async def running(settings, tmp_path) -> AsyncIterator[Running]:
    async with started(settings, tmp_path) as api:
        yield api


async def test_a_process_whose_loop_is_blocked_ends_and_its_clients_are_served_by_the_next(
    settings, tmp_path, organization
):
    blocked = {"ATELIER_FAILPOINTS": "api.after_commit=sleep:3600000", "ATELIER_HANG_SECONDS": "3"}
    async with (
        started(settings, tmp_path, **blocked) as api,
        aiohttp.ClientSession(api.url, headers=organization.headers) as client,
    ):
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.post("/v1/generations", json=BADGE)
        assert await api.gone() == "api ended with status 70 (it hung); starting it again in 0.1 s"
        assert await count(client) == 1
    assert "the event loop api has stood still for 3 s" in (tmp_path / "api.log").read_text()


async def test_what_is_under_way_at_sigterm_is_answered_and_the_status_is_0(running, organization):
    async with aiohttp.ClientSession(running.url, headers=organization.headers) as client:
        async with client.post("/v1/generations", json=BADGE) as answer:
            generation_id = (await answer.json())["id"]
        waiting = asyncio.create_task(client.post("/v1/generations", json=BADGE, headers={"Prefer": "wait=60"}))
        async with client.get(f"/v1/generations/{generation_id}/stream") as stream:
            await stream.content.readuntil(b"\n\n")
            while (await count(client)) < 2:
                await asyncio.sleep(0.02)
            os.kill(running.pid, signal.SIGTERM)
            assert await asyncio.wait_for(stream.content.read(), 5) == b""
        async with await asyncio.wait_for(waiting, 5) as answer:
            assert (answer.status, answer.headers["connection"]) == (202, "close")
            assert (await answer.json())["status"] == "queued"
    assert "ended with status 0" in await running.gone()


async def count(client):
    async with client.get("/v1/generations") as answer:
        return len((await answer.json())["data"])


@pytest.mark.slow
async def test_replacing_the_process_under_load_fails_no_request(running, make_organization):
    organization = await make_organization(plan="scale", grant=1_000_000)
    statuses: Counter[int] = Counter()
    stopping = asyncio.Event()

    async def ask() -> None:
        async with aiohttp.ClientSession(running.url, headers=organization.headers) as client:
            while not stopping.is_set():
                async with client.post("/v1/generations", json=BADGE) as answer:
                    await answer.read()
                    statuses[answer.status] += 1

    clients = [asyncio.create_task(ask()) for _ in range(4)]
    before = running.pid
    await running.supervisor.roll("api")
    stopping.set()
    await asyncio.gather(*clients)
    assert running.pid != before
    assert set(statuses) == {202}
    assert running.said == []


@contextlib.asynccontextmanager
async def by_hand(settings: Settings) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """The process, and where its two ports are. It ends with status 0."""
    free = [server.bind(settings.host, 0) for _ in range(2)]
    ports = [each.getsockname()[1] for each in free]
    for each in free:
        each.close()
    names = ("ATELIER_PORT", "ATELIER_OPERATOR_PORT")
    env = {**os.environ, **to_environment(settings), **dict(zip(names, map(str, ports), strict=True))}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "api", env=env, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield process, [f"http://{settings.host}:{port}" for port in ports]
    finally:
        if process.returncode is None:
            process.terminate()
        assert await process.wait() == 0


async def test_started_by_hand_it_listens_where_the_settings_say(settings, organization):
    async with by_hand(settings) as (_, urls), aiohttp.ClientSession() as client:
        for url in urls:
            assert await answers(client, f"{url}/health/ready")


async def test_a_load_balancer_sees_that_it_drains_before_it_takes_no_more_connections(settings, organization):
    patient = msgspec.structs.replace(settings, drain_seconds=3.0)
    new_connections = aiohttp.TCPConnector(force_close=True)
    async with (
        by_hand(patient) as (process, (url, _)),
        aiohttp.ClientSession(connector=new_connections, headers=organization.headers) as client,
    ):
        assert await answers(client, f"{url}/health/ready")
        process.terminate()
        while await ready_status(client, url) == 200:
            await asyncio.sleep(0.02)
        async with client.post(f"{url}/v1/generations", json=BADGE) as answer:
            assert (answer.status, answer.headers["connection"]) == (202, "close")
        with contextlib.suppress(aiohttp.ClientConnectionError):
            while True:
                assert await ready_status(client, url) == 503
                await asyncio.sleep(0.1)


async def ready_status(client, url):
    async with client.get(f"{url}/health/ready") as answer:
        return answer.status


async def answers(client, url):
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with client.get(url) as answer:
                    return answer.status == 200
            await asyncio.sleep(0.05)


async def test_a_role_that_sees_everything_is_refused(settings, servers, database_name):
    wrong = to_environment(settings) | {"ATELIER_DATABASE_URL": servers.database_url("postgres", database_name)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "api", env={**os.environ, **wrong}, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"superuser" in said

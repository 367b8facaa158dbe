"""What workers and relays answer when they are asked whether they can do their work."""

import contextlib
import re
import time

import asyncpg
import msgspec
import psutil
import pytest

from queue_config.broker import build_broker
from runtime.children import ChildPool
from runtime.settings import Secret
from tests.integration.workers.conftest import Spine
from tests.integration.workers.relays import Recording, running, until
from workers import readiness, relay


@pytest.fixture
def renderers(spine: Spine) -> ChildPool:
    assert spine.tools.renderers is not None
    return spine.tools.renderers


async def close_database(admin: asyncpg.Connection, name: str) -> None:
    await admin.execute(f"alter database {name} allow_connections false")
    await admin.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")


async def test_a_worker_is_ready_when_it_can_claim_render_and_reach_the_broker(
    spine: Spine, renderers: ChildPool
) -> None:
    broker = build_broker(spine.settings)
    assert await readiness.hindrance(spine.executor, broker, renderers) == "no render child is warm"
    await renderers.warm()
    assert await readiness.hindrance(spine.executor, broker, renderers) is None
    await spine.executor.give_back()
    assert await readiness.hindrance(spine.executor, broker, None) == "it stops"


async def test_a_worker_whose_render_children_are_gone_is_not_ready(spine: Spine, renderers: ChildPool) -> None:
    await renderers.warm()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.ZombieProcess):  # of another test
            if re.search(r"runtime[./]child", " ".join(child.cmdline())):
                child.kill()
                child.wait()
    said = await readiness.hindrance(spine.executor, build_broker(spine.settings), renderers)
    assert said == "no render child is warm"


async def test_a_worker_without_its_broker_is_not_ready(spine: Spine) -> None:
    away = msgspec.structs.replace(spine.settings, redis_url=Secret("redis://127.0.0.1:1"))
    assert await readiness.hindrance(spine.executor, build_broker(away), None) == "the broker is away"


async def test_without_the_database_neither_is_ready(
    spine: Spine, admin: asyncpg.Connection, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "FROZEN_SECONDS", 1.0)
    async with running(spine, Recording()) as leading, running(spine, Recording()) as standby:
        for each in (leading, standby):
            await until(lambda each=each: _is(each, None))
        await until(lambda: _one_leads(leading, standby))  # so who stands by is ready too
        await close_database(admin, database_name)
        for each in (leading, standby):
            await until(lambda each=each: _is(each, "it does not reach the database"))
        said = await readiness.hindrance(spine.executor, Recording(), None)
        assert said is not None
        assert said.startswith("nothing can be claimed: ")


async def test_a_connection_that_the_event_loop_calls_closed_is_a_hindrance_and_no_error(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reset_a_moment_ago() -> None:
        raise RuntimeError("unable to perform operation; the handler is closed")

    monkeypatch.setattr(spine.executor, "try_claim", reset_a_moment_ago)
    said = await readiness.hindrance(spine.executor, Recording(), None)
    assert said == "nothing can be claimed: RuntimeError"


async def test_a_relay_that_seldom_looks_is_ready_between_its_looks(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "FROZEN_SECONDS", 0.0)
    made = relay.Relay(msgspec.structs.replace(spine.settings, relay_sweep=30.0), Recording())
    made._seen_database = time.monotonic() - 60
    assert await made.hindrance() is None
    made._seen_database = time.monotonic() - 91
    assert await made.hindrance() == "it does not reach the database"


async def _is(asked: relay.Relay, hindrance: str | None) -> bool:
    return await asked.hindrance() == hindrance


async def _one_leads(first: relay.Relay, second: relay.Relay) -> bool:
    return first.leading != second.leading

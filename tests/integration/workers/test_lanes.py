"""Slow and failing receivers keep each other waiting, and nobody else."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dramatiq
import msgspec
import pytest

from domain.generations.events import GenerationFailed
from domain.webhooks import deliveries, lanes
from queue_config import queues
from runtime.settings import Settings
from tests import http_server
from tests.integration.courier import Courier, courier, keyring, reaching_this_machine
from tests.integration.workers.relays import Recording, running, until
from workers import rooms
from workers.execution import Executor

__all__ = ["courier", "keyring"]

DOWN = http_server.response(status=500)


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(lanes, "SLOW", timedelta(seconds=0.3))
    return msgspec.structs.replace(reaching_this_machine(settings), webhook_timeout=20.0)


class Direct(Recording):
    """Hands each message to an executor, as a worker of the group io does."""

    def __init__(self, executor: Executor) -> None:
        super().__init__()
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()

    def enqueue_many(self, messages: Sequence[dramatiq.Message[Any]]) -> None:
        for message in messages:
            self._loop.call_soon_threadsafe(self._begin, message)

    def _begin(self, message: dramatiq.Message[Any]) -> None:
        begun = self._executor.begin(queues.BY_NAME[message.queue_name], message.args[0])
        task = asyncio.create_task(begun)
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)


class Receiver:
    """Answers at once, with an error, or not before it is told to; notes when each event came."""

    def __init__(self, behaviour: str = "healthy") -> None:
        self.behaviour = behaviour
        self.came: dict[str, float] = {}

    async def __call__(self, request: http_server.Request, _: object, writer: asyncio.StreamWriter) -> None:
        self.came.setdefault(request.headers["webhook-id"], time.monotonic())
        while self.behaviour == "hangs":
            await asyncio.sleep(0.02)
        if self.behaviour == "slow":
            await asyncio.sleep(0.6)
        writer.write(DOWN if self.behaviour == "fails" else http_server.NO_CONTENT)
        await writer.drain()


async def test_a_receiver_that_hangs_does_not_make_another_wait(
    courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "MESSAGES_PER_ROOM", 1)
    hanging, healthy = Receiver("hangs"), Receiver()
    happened: dict[str, float] = {}
    async with http_server.serve(hanging) as first, http_server.serve(healthy) as second:
        hung = await courier.endpoint(f"{first.url}/hook")
        await courier.endpoint(f"{second.url}/hook")
        executor = courier.executor()
        async with running(courier, Direct(executor)):
            for _ in range(100):
                [event] = await courier.happen()
                happened[event] = time.monotonic()
                await asyncio.sleep(0.03)
            await until(lambda: _is(len(healthy.came) == 100))
        waits = sorted(healthy.came[event] - at for event, at in happened.items())
        assert waits[-1] < 10, "a hanging attempt takes twenty seconds"
        state = await courier.rows(
            "select queue, count(*) as tasks from tasks where target = :id and state <> 'done' group by queue",
            id=hung.endpoint.id,
        )
        there = {row["queue"]: row["tasks"] for row in state}
        assert there["webhooks-slow"] > there.get("webhooks", 0)
        hanging.behaviour = "healthy"
        await executor.give_back()


async def test_an_endpoint_is_slow_while_an_attempt_goes_on_and_until_one_is_quick(courier: Courier) -> None:
    receiver = Receiver("hangs")
    async with http_server.serve(receiver) as server:
        await courier.endpoint(f"{server.url}/hook")
        assert await _lane(courier) == "webhooks"
        carrying = asyncio.create_task(courier.deliver())
        await until(lambda: _exists(courier, "slow_since is not null"))
        receiver.behaviour = "slow"
        await carrying
        assert await _exists(courier, "slow_since is not null and failing_since is null")
        assert await _lane(courier) == "webhooks-slow"
        receiver.behaviour = "healthy"
        await courier.deliver()
        assert await _exists(courier, "slow_since is null")
        assert await _lane(courier) == "webhooks"
    assert await courier.value("select count(*) from deliveries where status = 'delivered'") == 2


async def test_retries_of_a_failing_endpoint_and_what_comes_after_go_to_the_slow_lane(courier: Courier) -> None:
    receiver = Receiver("fails")
    async with http_server.serve(receiver) as server:
        await courier.endpoint(f"{server.url}/hook")
        await courier.happen()
        await courier.deliver()
        assert await courier.value("select queue from tasks where state = 'ready'") == "webhooks"
        await courier.wait()
        await courier.deliver()
        assert await courier.value("select queue from tasks where state = 'ready'") == "webhooks-slow"
        receiver.behaviour = "healthy"
        await courier.wait()
        await courier.deliver()
        assert await courier.value("select state from tasks where actor = 'webhooks.deliver'") == "done"
        assert await _lane(courier) == "webhooks"


async def test_a_replay_goes_in_the_lane_of_its_endpoint(courier: Courier) -> None:
    receiver = Receiver()
    async with http_server.serve(receiver) as server:
        await courier.endpoint(f"{server.url}/hook")
        await courier.happen()
        await courier.deliver()
        delivery = await courier.delivery()
        await courier.rows("update webhook_endpoints set failing_since = now() returning id")
        async with courier.database.transaction(courier.organization) as tx:
            await deliveries.replay(tx, courier.organization, delivery["id"])
        await courier.deliver()
    assert await courier.value("select queue from tasks where subject like 'dlv_%'") == "webhooks-slow"
    assert await courier.value("select count(*) from delivery_attempts") == 2


async def _lane(courier: Courier) -> str:
    """In which the next event is sent; its task stays undone."""
    await courier.happen(GenerationFailed(subject="gen_lane", code="rendering_failed"))
    step = await courier.step()
    while not step.messages:
        step = await courier.step()
    [sending] = step.messages
    await courier.rows("update tasks set state = 'ready' where id = any(:ids) returning id", ids=sending.tasks)
    return sending.queue


async def _exists(courier: Courier, condition: str) -> bool:
    return bool(await courier.value(f"select exists(select from webhook_endpoints where {condition})"))


async def _is(value: bool) -> bool:
    return value

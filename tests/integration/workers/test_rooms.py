"""A receiver that keeps its callers waiting keeps nobody else waiting."""

import asyncio
from typing import Any

import pytest

from domain.generations import lifecycle
from queue_config import queues
from runtime import failpoints
from tests.integration.workers.conftest import Spine
from workers.rooms import Room

RENDER = lifecycle.RENDER


async def test_a_message_ends_when_its_tasks_are_claimed_and_they_go_on(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()

    async def slow(*_: Any) -> None:
        await go_on.wait()
        raise RuntimeError("late")

    monkeypatch.setattr("domain.generations.engines._image", slow)
    await spine.accept()
    async with asyncio.timeout(5):
        await spine.executor.begin(queues.WEBHOOKS, await spine.dispatch(RENDER))
    assert await spine.value("select state from tasks where actor = :actor", actor=RENDER) == "running"
    go_on.set()
    async with asyncio.timeout(5):
        while await spine.value("select attempts from tasks where actor = :actor", actor=RENDER) == 0:
            await asyncio.sleep(0.01)


async def test_what_breaks_in_a_task_that_nobody_waits_for_is_said(
    spine: Spine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(failpoints, "_plans", {})
    failpoints.configure("worker.after_record=raise")
    await spine.accept()
    await spine.executor.begin(queues.WEBHOOKS, await spine.dispatch(RENDER))
    said = ""
    async with asyncio.timeout(10):
        while "a task was let go" not in said:
            await asyncio.sleep(0.01)
            said += "".join(capsys.readouterr())
    failpoints.configure("")
    assert "worker.after_record" in said


async def test_what_was_begun_is_given_back_at_a_stop(spine: Spine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(*_: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("domain.generations.engines._image", endless)
    await spine.accept()
    await spine.executor.begin(queues.WEBHOOKS, await spine.dispatch(RENDER))
    await asyncio.sleep(0.1)
    await spine.executor.give_back()
    row = (await spine.rows("select state, attempts, deaths from tasks where actor = :actor", actor=RENDER))[0]
    assert tuple(row) == ("ready", 0, 0)


async def test_a_full_room_makes_messages_wait_and_lets_them_in_one_by_one() -> None:
    room = Room(3)
    await room.enter(2)
    waiting = asyncio.create_task(room.enter(2))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await room.enter(1)
    await room.leave(1)
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await room.leave(1)
    await asyncio.wait_for(waiting, 1)


async def test_more_than_a_room_has_is_let_into_an_empty_one() -> None:
    room = Room(3)
    await asyncio.wait_for(room.enter(50), 1)
    await room.leave(50)
    await asyncio.wait_for(room.enter(3), 1)

"""A cancellation at any moment: exactly one of settle or release."""

import asyncio
from typing import Any

import pytest

from domain.generations import lifecycle
from domain.generations.engines import template as template_engine
from domain.generations.errors import GenerationOver
from tests.integration.workers.conftest import Spine

RENDER = lifecycle.RENDER


async def _cancel(spine: Spine, generation: str) -> None:
    async with spine.database.transaction(spine.organization.id) as tx:
        await lifecycle.cancel(tx, spine.organization.id, generation, by="caller", traceparent=None)


async def _assert_cancelled(spine: Spine, generation: str, before: int) -> None:
    assert await spine.status(generation) == "cancelled"
    assert await spine.entries(generation) == ["hold", "release"]
    assert await spine.available() == before
    assert await spine.value("select count(*) from assets") == 0
    open_tasks = "select count(*) from tasks where state in ('ready', 'dispatched', 'running')"
    assert await spine.value(open_tasks) == 0


async def test_before_its_event_was_expanded(spine: Spine) -> None:
    before = await spine.available()
    generation = await spine.accept()
    await _cancel(spine, generation)
    await spine.drain()
    await _assert_cancelled(spine, generation, before)


async def test_twice_is_the_same_as_once(spine: Spine) -> None:
    before = await spine.available()
    generation = await spine.accept()
    await _cancel(spine, generation)
    await _cancel(spine, generation)
    await spine.drain()
    await _assert_cancelled(spine, generation, before)


async def test_while_its_task_was_on_the_way(spine: Spine) -> None:
    before = await spine.available()
    generation = await spine.accept()
    ids = await spine.dispatch(RENDER)
    await _cancel(spine, generation)
    await spine.drain()
    await spine.executor.run(ids)
    await _assert_cancelled(spine, generation, before)


async def test_while_it_was_drawn(spine: Spine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await spine.available()
    generation = await spine.accept()
    ids = await spine.dispatch(RENDER)
    begun, go_on = asyncio.Event(), asyncio.Event()
    render = template_engine.render

    async def slow(*arguments: Any) -> object:
        begun.set()
        await go_on.wait()
        return await render(*arguments)

    monkeypatch.setattr(template_engine, "render", slow)
    message = asyncio.create_task(spine.executor.run(ids))
    await begun.wait()
    await _cancel(spine, generation)
    go_on.set()
    await message
    await spine.drain()
    await _assert_cancelled(spine, generation, before)


async def test_between_the_put_and_the_record(spine: Spine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await spine.available()
    generation = await spine.accept()
    ids = await spine.dispatch(RENDER)
    reached, go_on = asyncio.Event(), asyncio.Event()
    render = template_engine.render

    async def held(*arguments: Any) -> object:
        rendered = await render(*arguments)
        reached.set()
        await go_on.wait()
        return rendered

    monkeypatch.setattr(template_engine, "render", held)
    message = asyncio.create_task(spine.executor.run(ids))
    await reached.wait()
    await _cancel(spine, generation)
    go_on.set()
    await message
    await spine.drain()
    await _assert_cancelled(spine, generation, before)


async def test_together_with_success_exactly_one_of_them_wins(spine: Spine) -> None:
    outcomes = set()
    for _ in range(8):
        generation = await spine.accept()
        ids = await spine.dispatch(RENDER)
        results = await asyncio.gather(spine.executor.run(ids), _cancel_soon(spine, generation), return_exceptions=True)
        assert all(result is None or isinstance(result, GenerationOver) for result in results), results
        await spine.drain()
        entries = await spine.entries(generation)
        status = await spine.status(generation)
        outcomes.add(status)
        assert entries in (["hold", "settle"], ["hold", "release"])
        if status == "cancelled":
            assert entries == ["hold", "release"]
    drift = """select a.available - sum(case when e.to_account = 'available' then e.amount
        when e.from_account = 'available' then -e.amount else 0 end)
        from credit_accounts a join credit_entries e using (organization_id) group by a.available"""
    assert await spine.value(drift) == 0
    assert outcomes <= {"succeeded", "cancelled"}


async def _cancel_soon(spine: Spine, generation: str) -> None:
    while await spine.status(generation) == "queued":
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    await _cancel(spine, generation)

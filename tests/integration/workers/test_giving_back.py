"""A stop while a record hangs."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest

from domain.generations import engines, lifecycle
from runtime import database
from tests.integration.workers.conftest import Spine
from tests.integration.workers.relays import until
from workers import app
from workers.batches import Batches
from workers.holdings import Holdings

WAITING = "select exists(select from pg_locks where not granted)"


async def test_what_works_is_given_back_at_once_and_a_record_that_hangs_after_some_seconds(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spine.accept(input={"label": "works"})
    await spine.accept(input={"label": "hangs"})
    ids = await spine.dispatch(lifecycle.RENDER)
    begun = asyncio.Event()
    monkeypatch.setattr("domain.generations.engines._image", _endless_for("works", begun))
    monkeypatch.setattr(Batches, "record", _never)
    patience_ends = asyncio.Event()
    stop_records = Holdings.stop_records

    async def stop_then(self: Holdings, patience: float) -> dict[int, int]:
        await patience_ends.wait()
        return await stop_records(self, patience / 10)

    monkeypatch.setattr(Holdings, "stop_records", stop_then)
    lock = await database.connect(spine.settings.database_owner_url, name="test-lock")
    async with lock.transaction():
        await lock.execute("lock table assets in exclusive mode")
        message = asyncio.create_task(spine.executor.run(ids))
        await begun.wait()
        await until(lambda: _is(spine, WAITING))
        stopping = asyncio.create_task(spine.executor.give_back())
        await until(lambda: _is(spine, "select count(*) filter (where state = 'ready') = 1 from tasks"))
        assert not stopping.done()
        patience_ends.set()
        await stopping
        await message
        states = await spine.rows("select state, attempts, deaths from tasks where id = any(:ids)", ids=ids)
        assert [tuple(row) for row in states] == [("ready", 0, 0)] * 2
    await lock.close()
    monkeypatch.undo()
    spine.executors[0] = spine.new_executor()
    await spine.drain()
    assert await spine.value("select count(*) from generations where status = 'succeeded'") == 2


@pytest.mark.parametrize("fault", [ConnectionRefusedError(), asyncpg.CannotConnectNowError(), None])
async def test_a_stop_goes_on_though_nothing_can_be_given_back(fault: Exception | None) -> None:
    class Worker:
        async def give_back(self) -> None:
            if fault is not None:
                raise fault
            await asyncio.sleep(60)

    loop = SimpleNamespace(loop=asyncio.get_running_loop())
    await asyncio.to_thread(app._give_back, cast("Any", Worker()), cast("Any", loop), 0.1)


def _endless_for(label: str, begun: asyncio.Event) -> Any:
    draw = engines._image

    async def image(plan: Any, studio: Any) -> object:
        if plan.input["label"] == label:
            begun.set()
            await asyncio.sleep(60)
        return await draw(plan, studio)

    return image


async def _never(*_: object) -> bool:
    return False


async def _is(spine: Spine, query: str) -> bool:
    return bool(await spine.value(query))

"""Looking generations up, page by page and by what they are."""

import asyncio
from datetime import timedelta

import pytest

from domain import pages
from domain.generations import reading
from domain.generations.errors import GenerationNotFound
from domain.generations.reading import Filter
from runtime import clock
from storage.addresses import ObjectUrls

URLS = ObjectUrls(base="http://here/assets", secrets=("a-secret-of-tests-that-is-long-enough",), ttl=timedelta(1))


@pytest.fixture
def listed(ledger):
    """`await listed(status="queued")` gives ids, newest first."""

    async def page(**wanted) -> list[str]:
        async with ledger.database.read_only(ledger.organization) as tx:
            found = await reading.page(tx, Filter(**wanted), pages.PageRequest(), urls=URLS)
        return [generation.id for generation in found.items]

    return page


async def test_pages_miss_and_repeat_nothing_while_more_is_asked_for(ledger):
    old = [await ledger.generation() for _ in range(4)]
    async with ledger.database.read_only(ledger.organization) as tx:
        first = await reading.page(tx, Filter(), pages.PageRequest(limit=3), urls=URLS)
    await ledger.generation()
    async with ledger.database.read_only(ledger.organization) as tx:
        second = await reading.page(tx, Filter(), pages.PageRequest(limit=3, after=first.last), urls=URLS)
    assert [generation.id for generation in first.items + second.items] == old[::-1]
    assert second.last is None


async def test_a_scheduled_one_is_queued_from_its_time_on(ledger, listed, monkeypatch):
    at_once = await ledger.generation()
    later = await ledger.generation(run_at=clock.product() + timedelta(hours=1))
    assert (await listed(status="scheduled"), await listed(status="queued")) == ([later], [at_once])
    monkeypatch.setattr(clock, "_offset", timedelta(hours=2))
    assert (await listed(status="scheduled"), await listed(status="queued")) == ([], [later, at_once])
    async with ledger.database.read_only(ledger.organization) as tx:
        assert (await reading.one(tx, later, URLS)).status == "queued"


async def test_a_project_a_status_and_a_time_narrow_the_list(ledger, listed):
    other = await ledger.generation()
    await asyncio.sleep(0.002)  # a row's time has milliseconds
    moment = clock.machine()
    await asyncio.sleep(0.002)
    mine = await ledger.generation(project="mine")
    running = (await ledger.started(other)).subject
    assert await listed(project="mine") == [mine]
    assert await listed(status="running") == [running]
    assert await listed(created_after=moment) == [mine]
    assert await listed(created_before=moment) == [other]
    assert await listed(project="mine", status="running") == []


async def test_what_is_not_there_is_not_found(ledger):
    async with ledger.database.read_only(ledger.organization) as tx:
        with pytest.raises(GenerationNotFound):
            await reading.one(tx, "gen_of_nobody", URLS)

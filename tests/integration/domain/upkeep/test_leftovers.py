"""Objects that nothing refers to go; all others stay."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from domain.tasks.outcomes import Done
from domain.upkeep import leftovers
from runtime import clock, ids
from runtime.settings import Settings
from storage.factory import build_store
from tests.integration.domain.ledger import Ledger, image

MONTH = timedelta(days=31)


@pytest.fixture
async def leftover(ledger: Ledger, settings: Settings) -> str:
    """The key of an object without a row. Beside it lie an image with one, and what belongs to nobody we know."""
    store, generation = build_store(settings), str(await ledger.generation())
    own, other = (f"o/{ledger.organization}/{digit * 64}.png" for digit in "12")
    for key in (own, other, f"o/org_stranger/{'3' * 64}.png", "elsewhere/4.png"):
        await store.put(key, key.encode(), content_type="image/png")
    there = image(storage_key=own)
    await ledger.rows(
        "insert into assets (organization_id, id, generation_id, identity, storage_key, sha256, format, width, height, "
        "bytes) values (:organization, :id, :generation, :identity, :key, :sha256, 'png', 1, 1, 1) returning id",
        organization=ledger.organization, id=ids.new("ast"), generation=generation, identity=there.identity, key=own,
        sha256=there.sha256,
    )  # fmt: skip
    return other


async def keys(settings: Settings) -> set[str]:
    return {key async for key in build_store(settings).list()}


async def test_an_organization_with_very_much_is_left_when_the_time_is_over(
    ledger: Ledger, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = build_store(settings), [clock.machine() + MONTH]
    for digit in "123":
        await store.put(f"o/{ledger.organization}/{digit * 64}.png", b"x", content_type="image/png")
    delete = store.delete

    async def slow(key: str, **options: Any) -> bool:
        now[0] += leftovers.LONGEST * 0.6
        return await delete(key, **options)

    monkeypatch.setattr(leftovers, "PAGE", 1)
    monkeypatch.setattr(store, "delete", slow)
    monkeypatch.setattr(clock, "machine", lambda: now[0])
    report = await leftovers.sweep(ledger.system, store, settings, delete=True)
    assert (report.objects, report.deleted, len(await keys(settings))) == (2, 2, 1)


async def test_what_no_row_has_goes_once_it_is_old_and_nothing_else(
    ledger: Ledger, settings: Settings, leftover: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything, store = await keys(settings), build_store(settings)
    assert isinstance(await leftovers.collect("now", system=ledger.system, store=store, settings=settings), Done)
    assert await keys(settings) == everything, "young: its row may be about to be written"
    later = clock.machine() + MONTH
    monkeypatch.setattr(clock, "machine", lambda: later)
    report = await leftovers.sweep(ledger.system, store, settings, delete=False)
    assert (report.objects, report.deleted) == (1, 0)
    for_ever = msgspec.structs.replace(settings, leftover_retention_days=0)
    await leftovers.collect("now", system=ledger.system, store=store, settings=for_ever)
    assert await keys(settings) == everything
    await leftovers.collect("now", system=ledger.system, store=store, settings=settings)
    assert everything - await keys(settings) == {leftover}

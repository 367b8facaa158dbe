"""Whether the store has what it was given."""

import shutil
from pathlib import Path

import pytest

from domain.tasks.outcomes import Done, Retry
from domain.upkeep import storage_check
from runtime import ids
from runtime.settings import Settings
from storage.factory import build_store
from tests.integration.conftest import OrganizationFactory
from tests.integration.domain.ledger import Ledger, image


@pytest.fixture
async def keys(ledger: Ledger, settings: Settings, make_organization: OrganizationFactory) -> list[str]:
    """Of one stored image in each of three organizations."""
    store, made = build_store(settings), []
    for number in range(3):
        organization = (await make_organization(name=f"Customer {number}")).id
        key, data = f"o/{organization}/{str(number) * 64}.png", b"an image " * number + b"!"
        stored = await store.put(key, data, content_type="image/png")
        generation = str(await ledger.generation(of=organization))
        there = image(storage_key=key, sha256=stored.sha256, bytes=stored.size)
        await ledger.rows(
            "insert into assets (organization_id, id, generation_id, identity, storage_key, sha256, format, width, "
            "height, bytes) values (:organization, :id, :generation, :identity, :key, :sha256, 'png', 1, 1, :bytes) "
            "returning id",
            organization=organization, id=ids.new("ast"), generation=generation, identity=there.identity, key=key,
            sha256=there.sha256, bytes=there.bytes,
        )  # fmt: skip
        made.append(key)
    return made


def counted(result: str) -> float:
    return storage_check.CHECKED.labels(result)._value.get()


async def test_images_that_are_there_are_fine(ledger: Ledger, settings: Settings, keys: list[str]) -> None:
    before = counted("ok")
    outcome = await storage_check.check("storage_check@now", system=ledger.system, store=build_store(settings))
    assert isinstance(outcome, Done)
    assert counted("ok") == before + len(keys)


async def test_a_missing_and_a_damaged_image_are_noticed(
    ledger: Ledger, settings: Settings, keys: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store, missing, damaged = build_store(settings), counted("missing"), counted("damaged")
    await store.delete(keys[0])
    await ledger.rows("update assets set bytes = bytes + 1 where storage_key = :key returning id", key=keys[1])
    await storage_check.check("storage_check@now", system=ledger.system, store=store)
    assert (counted("missing"), counted("damaged")) == (missing + 1, damaged + 1)
    assert capsys.readouterr().out.count("an image is not what it was") == 2


async def test_a_store_that_is_away_is_looked_at_again_later(ledger: Ledger, settings: Settings) -> None:
    store = build_store(settings)
    shutil.rmtree(settings.storage_dir)
    Path(settings.storage_dir).write_text("no folder")
    outcome = await storage_check.check("storage_check@now", system=ledger.system, store=store)
    assert isinstance(outcome, Retry)

"""Files: an object in a real store, a row in a real database, and a child process between."""

import hashlib
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import text

from domain import pages
from domain.files import inspection, uploads
from domain.files.errors import FileNotFound, PictureUnreadable
from storage.addresses import ObjectUrls
from storage.errors import StorageUnavailableError
from storage.local import LocalStore
from tests import pictures

URLS = ObjectUrls(base="http://here/assets", secrets=("a-secret-of-tests-that-is-long-enough",), ttl=timedelta(1))


@pytest.fixture
def scratch(settings):
    folder = settings.data_dir / "scratch"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def store(settings):
    return LocalStore(settings.storage_dir)


@pytest.fixture
async def upload(organization, database, store, scratch, settings):
    """`await upload(data, name="…")` does what the API does."""
    pool = inspection.open_pool(settings.data_dir / "children")

    async def run(data: bytes, name: str = "logo.png", of: str = "") -> uploads.FileView:
        owner = of or organization.id
        stored = await uploads.store_picture(owner, data, store=store, inspectors=pool, scratch=scratch)
        async with database.transaction(owner) as tx:
            return await uploads.add(tx, owner, name, stored, URLS)

    yield run
    await pool.close()


async def test_an_upload_is_an_object_a_row_and_a_fact(upload, organization, database, system, store, scratch):
    made = await upload(pictures.plain(), name="Logo.png")
    assert (made.name, made.content_type, made.width, made.height) == ("Logo.png", "image/png", 40, 20)
    key = f"o/{organization.id}/{made.sha256}.png"
    assert hashlib.sha256(await store.get(key)).hexdigest() == made.sha256
    assert made.url.startswith(f"http://here/assets/{key}?")
    assert list(scratch.iterdir()) == []
    async with database.read_only(organization.id) as tx:
        found = await uploads.one(tx, made.id, URLS)
    assert msgspec.structs.replace(found, url=made.url) == made  # addresses are signed anew at each look, by the second
    assert found.url.startswith(f"http://here/assets/{key}?")
    async with system.system_transaction() as tx:
        facts = await tx.execute(text("select type, subject, data from events where type like 'file.%'"))
    assert [tuple(fact) for fact in facts] == [
        ("file.uploaded", made.id, {"content_type": "image/png", "bytes": made.bytes})
    ]


async def test_a_refused_picture_leaves_nothing(upload, store, scratch):
    with pytest.raises(PictureUnreadable):
        await upload(b"nothing of the kind")
    assert [key async for key in store.list()] == []
    assert list(scratch.iterdir()) == []


async def test_a_store_that_is_full_leaves_nothing_in_the_scratch(upload, store, scratch, monkeypatch):
    async def full(*_: object, **__: object) -> None:
        raise StorageUnavailableError("no space")

    monkeypatch.setattr(store, "put_file", full)
    with pytest.raises(StorageUnavailableError):
        await upload(pictures.plain())
    assert list(scratch.iterdir()) == []


async def test_the_same_picture_twice_is_two_files_and_one_object(upload, organization, database, store):
    one, other = await upload(pictures.plain()), await upload(pictures.plain())
    assert one.id != other.id
    assert one.sha256 == other.sha256
    async with database.transaction(organization.id) as tx:
        await uploads.remove(tx, organization.id, one.id)
    assert [key async for key in store.list()] == [f"o/{organization.id}/{one.sha256}.png"]
    async with database.read_only(organization.id) as tx:
        assert (await uploads.one(tx, other.id, URLS)).id == other.id
        with pytest.raises(FileNotFound):
            await uploads.one(tx, one.id, URLS)


async def test_a_deleted_file_is_not_deleted_twice(upload, organization, database, system):
    made = await upload(pictures.plain())
    async with database.transaction(organization.id) as tx:
        await uploads.remove(tx, organization.id, made.id)
        with pytest.raises(FileNotFound):
            await uploads.remove(tx, organization.id, made.id)
    async with system.system_transaction() as tx:
        assert await tx.scalar(text("select count(*) from events where type = 'file.deleted'")) == 1


async def test_files_of_another_organization_are_not_there(upload, organization, make_organization, database):
    other = await make_organization()
    theirs = await upload(pictures.plain(), of=other.id)
    async with database.transaction(organization.id) as tx:
        assert (await uploads.page(tx, pages.PageRequest(), URLS)).items == []
        with pytest.raises(FileNotFound):
            await uploads.one(tx, theirs.id, URLS)
        with pytest.raises(FileNotFound):
            await uploads.remove(tx, organization.id, theirs.id)


async def test_files_are_listed_page_by_page_newest_first(upload, organization, database):
    made = [await upload(pictures.plain(), name=f"{number}.png") for number in range(3)]
    async with database.read_only(organization.id) as tx:
        first = await uploads.page(tx, pages.PageRequest(limit=2), URLS)
        second = await uploads.page(tx, pages.PageRequest(limit=2, after=first.last), URLS)
    assert [file.id for file in first.items + second.items] == [file.id for file in reversed(made)]
    assert second.last is None


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\me.png", "me.png"),
        ("a\x00b\r\n.png", "ab.png"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("", "picture"),
        ("x" * 500, "x" * 200),
        ("Grüße 猫.png", "Grüße 猫.png"),
    ],
)
async def test_a_name_is_what_it_looks_like(given, shown, upload):
    assert (await upload(pictures.plain(), name=given)).name == shown

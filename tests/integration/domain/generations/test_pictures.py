"""Pictures of an input, by file and by address, made into local files."""

import hashlib

import pytest

from domain.files import inspection, uploads
from domain.generations import pictures
from domain.generations.pictures import PictureMissingError
from runtime import ids, outbound
from storage.errors import ObjectNotFoundError
from storage.local import LocalStore
from tests import http_server
from tests import pictures as drawn
from tests.integration.domain.files.test_uploads import URLS

JPEG = drawn.plain("JPEG")


@pytest.fixture
def folder(settings):
    made = settings.data_dir / "scratch"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def store(settings):
    return LocalStore(settings.storage_dir)


@pytest.fixture
async def client():
    async with outbound.Outbound(outbound.Policy(allow=outbound.networks("127.0.0.0/8")), total_timeout=5) as opened:
        yield opened


@pytest.fixture
async def file_id(organization, database, store, folder, settings) -> str:
    """Of an uploaded picture."""
    pool = inspection.open_pool(settings.data_dir / "children")
    data = drawn.plain()
    stored = await uploads.store_picture(organization.id, data, store=store, inspectors=pool, scratch=folder)
    await pool.close()
    async with database.transaction(organization.id) as tx:
        return (await uploads.add(tx, organization.id, "logo.png", stored, URLS)).id


async def known(database, organization: str, given: dict[str, str]) -> dict[str, pictures.Upload]:
    async with database.read_only(organization) as tx:
        return await pictures.uploads(tx, "social-card", given)


async def test_files_and_addresses_are_fetched_each_to_its_place(
    organization, database, store, folder, client, file_id
):
    answer = http_server.response(JPEG, headers={"content-type": "image/jpeg"})
    async with http_server.serve(answer) as server:
        given = {"headline": "Hello", "logo": file_id, "photo": f"{server.url}/photo.jpg"}
        there = await known(database, organization.id, given)
        fetched = await pictures.fetch("social-card", given, there, store=store, outbound=client, folder=folder)
    assert list(there) == [file_id]
    assert fetched["/photo"].path.read_bytes() == JPEG
    assert fetched["/photo"].sha256 == hashlib.sha256(JPEG).hexdigest()
    assert fetched["/logo"].sha256 == there[file_id].sha256
    assert hashlib.sha256(fetched["/logo"].path.read_bytes()).hexdigest() == there[file_id].sha256
    assert {picture.path.parent for picture in fetched.values()} == {folder}


async def test_a_file_that_is_not_there_is_named_by_its_place(organization, database, store, folder, client):
    given = {"headline": "Hello", "logo": ids.new("file")}
    there = await known(database, organization.id, given)
    assert there == {}
    with pytest.raises(PictureMissingError, match="/logo"):
        await pictures.fetch("social-card", given, there, store=store, outbound=client, folder=folder)


async def test_a_file_of_another_organization_is_not_there(make_organization, database, file_id):
    other = await make_organization()
    assert await known(database, other.id, {"headline": "Hello", "logo": file_id}) == {}


async def test_a_template_without_pictures_asks_for_none(organization, database):
    async with database.read_only(organization.id) as tx:
        assert await pictures.uploads(tx, "badge", {"label": "A1"}) == {}


async def test_an_object_that_is_gone_is_told(organization, database, store, folder, client, file_id):
    given = {"headline": "Hello", "logo": file_id}
    there = await known(database, organization.id, given)
    await store.delete(there[file_id].storage_key)
    with pytest.raises(ObjectNotFoundError):
        await pictures.fetch("social-card", given, there, store=store, outbound=client, folder=folder)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http_server.response(b"", status=404), outbound.UnusableResponseError),
        (http_server.response(b"<html>", headers={"content-type": "text/html"}), outbound.UnusableResponseError),
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 99999999\r\n\r\n",
            outbound.ResponseTooLargeError,
        ),
    ],
)
async def test_an_address_that_shows_no_picture_leaves_no_file(answer, error, store, folder, client):
    async with http_server.serve(answer) as server:
        with pytest.raises(error):
            await pictures.fetch("social-card", {"photo": server.url}, {}, store=store, outbound=client, folder=folder)
    assert list(folder.iterdir()) == []


async def test_an_inner_address_is_not_asked(store, folder):
    async with http_server.serve() as server, outbound.Outbound(outbound.Policy()) as strict:
        with pytest.raises(outbound.AddressRefusedError):
            await pictures.fetch("social-card", {"photo": server.url}, {}, store=store, outbound=strict, folder=folder)
    assert server.connections == 0

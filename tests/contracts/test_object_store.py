"""What every ObjectStore must do, over each of them."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtime import clock
from storage.base import CHUNK_SIZE, ObjectStore
from storage.errors import (
    ChecksumMismatchError,
    InvalidContentTypeError,
    InvalidKeyError,
    ObjectExistsError,
    ObjectNotFoundError,
)
from storage.local import LocalStore
from storage.memory import MemoryStore

PNG = "image/png"
STORES: dict[str, Callable[[Path], ObjectStore]] = {
    "local": lambda folder: LocalStore(folder / "store"),
    "memory": lambda folder: MemoryStore(),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return STORES[request.param](tmp_path)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def read(store: ObjectStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.open(key, start, end)])


async def keys_of(store: ObjectStore, prefix: str = "") -> list[str]:
    return [key async for key in store.list(prefix)]


async def test_what_was_put_is_read_back_with_its_type_size_checksum_and_time(store: ObjectStore) -> None:
    before = datetime.now(UTC)
    made = await store.put("o/one/picture.png", b"pixels", content_type=PNG)
    assert made.created
    found = await store.stat("o/one/picture.png")
    assert (found.key, found.size, found.content_type, found.sha256) == ("o/one/picture.png", 6, PNG, sha256(b"pixels"))
    assert before - timedelta(seconds=1) <= found.modified <= datetime.now(UTC)
    assert found.modified == made.modified
    assert not found.created
    assert await store.get("o/one/picture.png") == b"pixels"


async def test_a_file_is_stored_and_stays_where_it_is_until_its_owner_deletes_it(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "rendered.png"
    path.write_bytes(b"pixels")
    made = await store.put_file("o/one/a.png", path, content_type=PNG, sha256=sha256(b"pixels"))
    assert made.created
    assert path.read_bytes() == b"pixels"
    path.unlink()
    assert await store.get("o/one/a.png") == b"pixels"


async def test_putting_the_same_content_again_succeeds_and_says_that_nothing_was_made(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "same.png"
    path.write_bytes(b"pixels")
    first = await store.put("o/one/a.png", b"pixels", content_type=PNG)
    again = await store.put("o/one/a.png", b"pixels", content_type="image/x-other")
    as_file = await store.put_file("o/one/a.png", path, content_type=PNG, sha256=sha256(b"pixels"))
    assert not again.created
    assert not as_file.created
    assert again.content_type == PNG
    assert again.modified == first.modified


async def test_other_content_under_a_key_in_use_is_refused_and_the_first_stays(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "other.png"
    path.write_bytes(b"other")
    await store.put("o/one/a.png", b"pixels", content_type=PNG)
    with pytest.raises(ObjectExistsError):
        await store.put("o/one/a.png", b"other", content_type=PNG)
    with pytest.raises(ObjectExistsError):
        await store.put_file("o/one/a.png", path, content_type=PNG, sha256=sha256(b"other"))
    assert await store.get("o/one/a.png") == b"pixels"


async def test_of_many_puts_of_one_content_at_once_exactly_one_made_it(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "same.png"
    path.write_bytes(b"pixels")
    results = await asyncio.gather(
        *(store.put("o/one/a.png", b"pixels", content_type=PNG) for _ in range(10)),
        *(store.put_file("o/one/a.png", path, content_type=PNG, sha256=sha256(b"pixels")) for _ in range(10)),
    )
    assert sum(result.created for result in results) == 1
    assert await store.get("o/one/a.png") == b"pixels"


async def test_of_many_different_contents_put_at_once_one_wins_and_its_type_is_its_own(store: ObjectStore) -> None:
    async def put(number: int) -> int | None:
        try:
            await store.put("o/one/a", b"content %d" % number, content_type=f"text/x-{number}")
        except ObjectExistsError:
            return None
        return number

    winners = [number for number in await asyncio.gather(*map(put, range(20))) if number is not None]
    assert len(winners) == 1
    assert await store.get("o/one/a") == b"content %d" % winners[0]
    assert (await store.stat("o/one/a")).content_type == f"text/x-{winners[0]}"


async def test_a_file_that_is_not_what_its_checksum_says_is_refused_and_nothing_is_stored(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.png"
    path.write_bytes(b"pixels")
    with pytest.raises(ChecksumMismatchError):
        await store.put_file("o/one/a.png", path, content_type=PNG, sha256=sha256(b"other"))
    with pytest.raises(ObjectNotFoundError):
        await store.stat("o/one/a.png")
    assert await keys_of(store) == []


async def test_only_a_regular_file_can_be_put(store: ObjectStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    link = tmp_path / "link"
    link.symlink_to(secret)
    for path in (link, tmp_path, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError):
            await store.put_file("o/one/a", path, content_type=PNG, sha256=sha256(b"secret"))
    assert await keys_of(store) == []


async def test_ranges_are_read_as_slices(store: ObjectStore) -> None:
    await store.put("o/one/a", b"0123456789", content_type="text/plain")
    assert await read(store, "o/one/a") == b"0123456789"
    assert await read(store, "o/one/a", 3) == b"3456789"
    assert await read(store, "o/one/a", 3, 7) == b"3456"
    assert await read(store, "o/one/a", 0, 0) == b""
    assert await read(store, "o/one/a", 8, 100) == b"89"
    assert await read(store, "o/one/a", 50, 60) == b""
    for start, end in ((-1, None), (5, 2)):
        with pytest.raises(ValueError):
            await read(store, "o/one/a", start, end)


async def test_a_large_object_comes_in_chunks_and_a_reader_may_stop_early(store: ObjectStore) -> None:
    data = bytes(range(256)) * 4096
    await store.put("o/one/large", data, content_type="application/octet-stream")
    assert await read(store, "o/one/large") == data
    assert (
        await read(store, "o/one/large", CHUNK_SIZE - 1, CHUNK_SIZE * 2 + 1)
        == data[CHUNK_SIZE - 1 : CHUNK_SIZE * 2 + 1]
    )
    chunks = store.open("o/one/large")
    assert len(await anext(chunks)) <= CHUNK_SIZE
    await chunks.aclose()  # type: ignore[attr-defined]


async def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    assert (await store.put("o/one/empty", b"", content_type="text/plain")).size == 0
    assert await store.get("o/one/empty") == b""
    assert await read(store, "o/one/empty") == b""
    assert await keys_of(store) == ["o/one/empty"]


async def test_what_is_not_there_is_not_found(store: ObjectStore) -> None:
    await store.put("o/one/a", b"x", content_type="text/plain")
    for key in ("o/one/b", "o/two/a", "o/one", "o/one/a/b", "nothing"):
        with pytest.raises(ObjectNotFoundError):
            await store.get(key)
        with pytest.raises(ObjectNotFoundError):
            await store.stat(key)
        with pytest.raises(ObjectNotFoundError):
            await read(store, key)


async def test_what_was_deleted_is_gone_and_its_key_may_be_used_again(store: ObjectStore) -> None:
    await store.put("o/one/a", b"first", content_type="text/plain")
    await store.delete("o/one/a")
    await store.delete("o/one/a")
    await store.delete("o/never/there")
    with pytest.raises(ObjectNotFoundError):
        await store.get("o/one/a")
    assert await keys_of(store) == []
    assert (await store.put("o/one/a", b"second", content_type=PNG)).created
    assert (await store.stat("o/one/a")).content_type == PNG


async def test_what_was_put_since_a_moment_even_once_more_is_not_deleted(store: ObjectStore) -> None:
    await store.put("o/one/a", b"a", content_type="image/png")
    made = clock.machine() + timedelta(seconds=1)
    assert not await store.delete("o/one/a", unless_put_since=clock.machine() - timedelta(hours=1))
    assert await store.get("o/one/a") == b"a"
    assert await store.delete("o/one/a", unless_put_since=made)
    assert not await store.delete("o/one/a", unless_put_since=made)


async def test_a_reader_finishes_although_the_object_is_deleted_meanwhile(store: ObjectStore) -> None:
    data = b"x" * (CHUNK_SIZE * 3)
    await store.put("o/one/a", data, content_type="text/plain")
    chunks = store.open("o/one/a")
    seen = await anext(chunks)
    await store.delete("o/one/a")
    assert seen + b"".join([chunk async for chunk in chunks]) == data


async def test_keys_are_listed_by_prefix_and_in_order(store: ObjectStore) -> None:
    names = ["o/b/1", "o/a/2", "o/a/1", "o/a-b/1", "o/a.b", "o/ab", "top", "o/a/sub/3"]
    for name in names:
        await store.put(name, name.encode(), content_type="text/plain")
    assert await keys_of(store) == sorted(names)
    assert await keys_of(store, "o/a/") == ["o/a/1", "o/a/2", "o/a/sub/3"]
    assert await keys_of(store, "o/a") == ["o/a-b/1", "o/a.b", "o/a/1", "o/a/2", "o/a/sub/3", "o/ab"]
    assert await keys_of(store, "o/a/su") == ["o/a/sub/3"]
    assert await keys_of(store, "o/z/") == []
    assert await keys_of(store, "top/") == []


@pytest.mark.parametrize(
    "key",
    ["", "/", "/etc/passwd", "..", "a/../b", "../../etc/passwd", "a//b", "a/", "./a", ".tmp/x", "a/.hidden", "A", "ä",
     "a\\b", "a\0b", "a\nb", "a b", "%2e%2e/a", "a:b", "x" * 201, "x/" * 300 + "x"],
)  # fmt: skip
async def test_a_key_that_could_mean_anything_to_a_path_is_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(InvalidKeyError):
        await store.put(key, b"x", content_type="text/plain")
    for call in (store.get, store.stat, store.delete):
        with pytest.raises(InvalidKeyError):
            await call(key)
    with pytest.raises(InvalidKeyError):
        await read(store, key)
    assert await keys_of(store) == []


@pytest.mark.parametrize("prefix", ["/", "..", "../", "a/..", "a//", ".tmp", "A"])
async def test_a_prefix_that_no_key_has_is_refused(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(InvalidKeyError):
        await keys_of(store, prefix)


@pytest.mark.parametrize("content_type", ["", "png", "image/png\r\nSet-Cookie: a=b", "image/png\n", "Ünicode/x"])
async def test_a_content_type_that_could_not_be_a_header_is_refused(store: ObjectStore, content_type: str) -> None:
    with pytest.raises(InvalidContentTypeError):
        await store.put("o/one/a", b"x", content_type=content_type)
    assert await keys_of(store) == []


async def test_a_content_type_may_have_parameters(store: ObjectStore) -> None:
    await store.put("o/one/a", b"x", content_type="text/plain; charset=utf-8")
    assert (await store.stat("o/one/a")).content_type == "text/plain; charset=utf-8"


async def test_a_store_that_works_passes_its_check(store: ObjectStore) -> None:
    await store.check()
    assert await keys_of(store) == []

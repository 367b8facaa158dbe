"""The local store against real files, links, limits and dying processes."""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage import keys
from storage.errors import (
    InvalidKeyError,
    ObjectDamagedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageFullError,
    StorageUnavailableError,
)
from storage.local import LocalStore

TEXT, PNG = "text/plain", "image/png"
KEY = "o/one/a.txt"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


async def keys_of(store: LocalStore) -> list[str]:
    return [key async for key in store.list()]


def files_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


async def test_the_key_is_the_path_of_a_plain_file(store: LocalStore, root: Path) -> None:
    await store.put(KEY, b"plain", content_type=TEXT)
    assert (root / KEY).read_bytes() == b"plain"
    assert files_in(root) == ["o/one/.a.txt.json", "o/one/a.txt"]


async def test_content_whose_name_says_all_is_one_file(store: LocalStore, root: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"pixels").hexdigest()
    key = keys.content_key("org", digest, "png")
    made = await store.put(key, b"pixels", content_type=PNG)
    source = tmp_path / "same"
    source.write_bytes(b"pixels")
    again = await store.put_file(key, source, content_type=PNG, sha256=digest)
    found = await store.stat(key)
    assert files_in(root) == [key]
    assert (made.created, again.created, again.key) == (True, False, key)
    assert (found.key, found.size, found.content_type, found.sha256) == (key, 6, PNG, digest)
    assert await keys_of(store) == [key]
    assert await store.delete(key)
    assert files_in(root) == []


@pytest.mark.parametrize(("content_type", "extension"), [("image/x-other", "png"), ("text/plain", "txt")])
async def test_what_a_name_does_not_say_is_kept_beside_it(
    store: LocalStore, root: Path, content_type: str, extension: str
) -> None:
    key = keys.content_key("org", hashlib.sha256(b"pixels").hexdigest(), extension)
    await store.put(key, b"pixels", content_type=content_type)
    assert len(files_in(root)) == 2
    assert (await store.stat(key)).content_type == content_type


async def test_a_name_that_says_something_else_than_its_content_is_not_believed(store: LocalStore) -> None:
    key = keys.content_key("org", hashlib.sha256(b"pixels").hexdigest(), "png")
    await store.put(key, b"other", content_type=PNG)
    assert await store.get(key) == b"other"
    with pytest.raises(ObjectExistsError):
        await store.put(key, b"pixels", content_type=PNG)


async def test_content_put_with_a_record_when_names_did_not_count_is_read(store: LocalStore, root: Path) -> None:
    digest = hashlib.sha256(b"pixels").hexdigest()
    key = keys.content_key("org", digest, "png")
    before = datetime(2026, 1, 2, tzinfo=UTC)
    (root / "o/org").mkdir(parents=True)
    (root / key).write_bytes(b"pixels")
    record = {"key": key, "size": 6, "content_type": PNG, "sha256": digest, "modified": before.isoformat()}
    (root / f"o/org/.{digest}.png.json").write_text(json.dumps(record))
    assert (await store.stat(key)).modified == before
    assert not (await store.put(key, b"pixels", content_type=PNG)).created
    assert await store.delete(key)
    assert files_in(root) == []


@pytest.mark.parametrize("record", [None, '{"key": "o/org'])
async def test_damage_under_a_name_that_says_all_is_found_and_repaired(
    store: LocalStore, root: Path, record: str | None
) -> None:
    digest = hashlib.sha256(b"pixels").hexdigest()
    key = keys.content_key("org", digest, "png")
    await store.put(key, b"pixels", content_type=PNG)
    (root / key).write_bytes(b"pix")
    if record is not None:
        (root / f"o/org/.{digest}.png.json").write_text(record)
    with pytest.raises(ObjectDamagedError):
        await store.get(key)
    assert (await store.put(key, b"pixels", content_type=PNG)).created
    assert await store.get(key) == b"pixels"
    assert files_in(root) == [key]


async def test_the_folder_is_its_owners_alone(store: LocalStore, root: Path) -> None:
    assert root.stat().st_mode & 0o077 == 0


async def test_a_file_on_the_same_file_system_is_linked_not_copied(
    store: LocalStore, root: Path, tmp_path: Path
) -> None:
    source = tmp_path / "rendered"
    source.write_bytes(b"pixels")
    await store.put_file(KEY, source, content_type=TEXT, sha256=hashlib.sha256(b"pixels").hexdigest())
    assert (root / KEY).samefile(source)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a second file system")
async def test_a_file_of_another_file_system_is_copied(store: LocalStore, root: Path) -> None:
    source = Path("/dev/shm") / f"atelier-test-{os.getpid()}"
    source.write_bytes(b"pixels")
    try:
        await store.put_file(KEY, source, content_type=TEXT, sha256=hashlib.sha256(b"pixels").hexdigest())
    finally:
        source.unlink()
    assert await store.get(KEY) == b"pixels"


async def test_a_copied_folder_keeps_content_types_and_times(store: LocalStore, root: Path, tmp_path: Path) -> None:
    await store.put(KEY, b"plain", content_type="text/plain; charset=utf-8")
    shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copy)
    assert await LocalStore(tmp_path / "copy").stat(KEY) == await store.stat(KEY)


async def test_a_link_inside_the_folder_is_not_followed(store: LocalStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.txt").write_bytes(b"secret")
    (outside / ".a.txt.json").write_text("{}")
    (root / "o").mkdir()
    (root / "o/one").symlink_to(outside)
    assert await keys_of(store) == []
    with pytest.raises(ObjectNotFoundError):
        await store.get(KEY)
    with pytest.raises(InvalidKeyError):
        await store.put("o/one/new.txt", b"x", content_type=TEXT)
    await store.delete(KEY)
    assert files_in(outside) == [".a.txt.json", "a.txt"]


async def test_an_object_replaced_by_a_link_is_not_read(store: LocalStore, root: Path, tmp_path: Path) -> None:
    await store.put(KEY, b"plain", content_type=TEXT)
    (tmp_path / "secret").write_bytes(b"12345")
    (root / KEY).unlink()
    (root / KEY).symlink_to(tmp_path / "secret")
    assert await keys_of(store) == []
    with pytest.raises(ObjectNotFoundError):
        await store.get(KEY)


async def test_a_key_that_runs_through_an_object_or_names_a_folder_of_objects_is_refused(store: LocalStore) -> None:
    await store.put(KEY, b"plain", content_type=TEXT)
    for key in (f"{KEY}/below", "o/one", "o"):
        with pytest.raises(InvalidKeyError):
            await store.put(key, b"x", content_type=TEXT)
    assert await keys_of(store) == [KEY]


async def test_damage_is_found_and_the_right_content_repairs_it(store: LocalStore, root: Path) -> None:
    await store.put(KEY, b"plain", content_type=TEXT)
    (root / KEY).write_bytes(b"plai")
    for call in (store.get, store.stat):
        with pytest.raises(ObjectDamagedError):
            await call(KEY)
    assert (await store.put(KEY, b"plain", content_type=TEXT)).created
    assert await store.get(KEY) == b"plain"


async def test_flipped_bytes_are_found_by_the_checksum(store: LocalStore, root: Path) -> None:
    await store.put(KEY, b"plain", content_type=TEXT)
    (root / KEY).write_bytes(b"flain")
    with pytest.raises(ObjectDamagedError):
        await store.get(KEY)


async def test_an_unreadable_record_is_damage(store: LocalStore, root: Path) -> None:
    await store.put(KEY, b"plain", content_type=TEXT)
    (root / "o/one/.a.txt.json").write_text('{"key": "o/one')
    with pytest.raises(ObjectDamagedError):
        await store.stat(KEY)
    assert (await store.put(KEY, b"plain", content_type=TEXT)).created


async def test_a_record_without_content_and_content_without_a_record_are_no_objects(
    store: LocalStore, root: Path
) -> None:
    for key in ("o/one/a", "o/one/b"):
        await store.put(key, b"plain", content_type=TEXT)
    (root / "o/one/a").unlink()
    (root / "o/one/.b.json").unlink()
    assert await keys_of(store) == []
    for key in ("o/one/a", "o/one/b"):
        with pytest.raises(ObjectNotFoundError):
            await store.stat(key)
        assert (await store.put(key, b"other", content_type=TEXT)).created
        assert await store.get(key) == b"other"


async def test_leftovers_are_invisible_and_cleared_when_they_are_old(store: LocalStore, root: Path) -> None:
    leftover = root / ".tmp" / "0123456789abcdef"
    leftover.write_bytes(b"half a pict")
    os.utime(leftover, (0, 0))
    assert await keys_of(store) == []
    await store.check()
    assert leftover.exists()
    await LocalStore(root, leftovers_after=timedelta(0)).check()
    assert not leftover.exists()


async def test_a_start_clears_old_leftovers(store: LocalStore, root: Path) -> None:
    (root / ".tmp" / "0123456789abcdef").write_bytes(b"half a pict")
    LocalStore(root, leftovers_after=timedelta(0))
    assert files_in(root) == []


KILLED_WHILE_PUTTING = """
import asyncio, os, signal, sys
from pathlib import Path
from storage.local import LocalStore

async def main(root):
    store = LocalStore(root)
    for number in range(100_000):
        await store.put(f"o/one/{number}", b"%d" % number * 1000, content_type="text/plain")
        print(number, flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_killed_writer_loses_nothing_it_had_stored_and_leaves_nothing_half(root: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED_WHILE_PUTTING, str(root)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout
    for line in writer.stdout:
        if int(line) == 40:
            writer.send_signal(signal.SIGKILL)
            break
    stored = [40, *(int(line) for line in writer.stdout if line.endswith("\n"))]
    writer.stdout.close()
    writer.wait()
    store = LocalStore(root, leftovers_after=timedelta(0))
    listed = await keys_of(store)
    assert {f"o/one/{number}" for number in range(max(stored) + 1)} <= set(listed)
    assert len(listed) <= max(stored) + 2
    for key in listed:
        assert await store.get(key) == key.rpartition("/")[2].encode() * 1000
    assert files_in(root / ".tmp") == []


PUT_OF_MANY_PROCESSES = """
import asyncio, sys
from pathlib import Path
from storage.errors import ObjectExistsError
from storage.local import LocalStore

async def main(root, name):
    store = LocalStore(root)
    for number in range(100):
        try:
            made = await store.put(f"o/one/{number}", name.encode(), content_type=f"text/x-{name}")
        except ObjectExistsError:
            continue
        print(number, made.created)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


async def test_of_several_processes_that_put_other_content_one_wins_each_key(root: Path) -> None:
    names = ("red", "green", "blue")
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PUT_OF_MANY_PROCESSES, str(root), name, stdout=asyncio.subprocess.PIPE
        )
        for name in names
    ]
    outputs = [(await writer.communicate())[0].decode().splitlines() for writer in writers]
    wins = {f"o/one/{line.split()[0]}": name for name, lines in zip(names, outputs, strict=True) for line in lines}
    assert all(line.endswith("True") for lines in outputs for line in lines)
    assert sum(map(len, outputs)) == len(wins) == 100
    store = LocalStore(root)
    for key, name in wins.items():
        assert await store.get(key) == name.encode()
        assert (await store.stat(key)).content_type == f"text/x-{name}"


PUT_WITH_NO_SPACE = """
import asyncio, hashlib, resource, sys
from pathlib import Path
from storage.errors import StorageFullError
from storage.local import LocalStore

async def main(root, source):
    store = LocalStore(root)
    await store.put("o/one/small", b"small", content_type="text/plain")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        await store.put("o/one/large", b"x" * 5000, content_type="text/plain")
    except StorageFullError:
        print("refused")
    await store.put("o/one/other", b"fits", content_type="text/plain")

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[1])))
"""


async def test_a_put_that_outgrows_the_limit_leaves_nothing_and_the_next_one_works(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PUT_WITH_NO_SPACE, str(root)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "refused\n"
    store = LocalStore(root)
    assert await keys_of(store) == ["o/one/other", "o/one/small"]
    assert files_in(root / ".tmp") == []


async def test_a_full_disk_leaves_nothing_and_is_told_apart(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk]).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        store = LocalStore(disk / "store")
        await store.put("o/one/small", b"small", content_type=TEXT)
        with pytest.raises(StorageFullError):
            await store.put("o/one/large", b"x" * 1_000_000, content_type=TEXT)
        source = tmp_path / "rendered"
        source.write_bytes(b"x" * 1_000_000)
        with pytest.raises(StorageFullError):
            await store.put_file(
                "o/one/large", source, content_type=TEXT, sha256=hashlib.sha256(source.read_bytes()).hexdigest()
            )
        assert await keys_of(store) == ["o/one/small"]
        assert files_in(disk / "store/.tmp") == []
        await store.put("o/one/next", b"fits", content_type=TEXT)
    finally:
        subprocess.run(["umount", disk], check=True)


async def test_a_folder_that_is_gone_makes_the_store_unavailable(store: LocalStore, root: Path) -> None:
    await store.put(KEY, b"plain", content_type=TEXT)
    shutil.rmtree(root)
    with pytest.raises(StorageUnavailableError):
        await store.check()
    with pytest.raises(StorageUnavailableError):
        await store.get(KEY)
    with pytest.raises(StorageUnavailableError):
        await store.put(KEY, b"plain", content_type=TEXT)


async def test_a_folder_that_cannot_be_made_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageUnavailableError):
        LocalStore(tmp_path / "file" / "store")


async def test_objects_deleted_by_hand_with_their_folders_can_be_put_again(store: LocalStore, root: Path) -> None:
    await store.put(KEY, b"plain", content_type=TEXT)
    shutil.rmtree(root / "o")
    assert (await store.put(KEY, b"plain", content_type=TEXT)).created


async def test_the_record_says_what_was_stored(store: LocalStore, root: Path) -> None:
    made = await store.put(KEY, b"plain", content_type=TEXT)
    record = json.loads((root / "o/one/.a.txt.json").read_text())
    assert record["content_type"] == TEXT
    assert record["sha256"] == made.sha256 == hashlib.sha256(b"plain").hexdigest()
    assert record["size"] == 5

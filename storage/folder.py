"""Objects as plain files: the key is the path, so that `ls`, `cp -r`, `rsync` and `sha256sum` work on them.

What the name does not say lies beside it in a record (`storage/records.py`): a file of its own, because a copy or an
archive of the folder keeps it, where extended attributes are dropped by `cp -r`, `zip`, most network shares and
back-ups. An object that has no record is there when its content is, any other when both are: the record is renamed in
first, the content second, under a lock on the folder that the kernel drops with the process. So a crash leaves at most
a record without content (the next put replaces it) or a file in `.tmp` (no key begins with a dot; `check` clears the
old ones away).

Paths are walked from the root, segment by segment, on descriptors with O_NOFOLLOW: no key and no link inside the
folder leads out of it. The folder must be on a local file system: locks on folders don't travel over NFS.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec

from runtime import clock, failpoints
from storage import records
from storage.base import StoredObject
from storage.errors import (
    ChecksumMismatchError,
    InvalidKeyError,
    ObjectDamagedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageFullError,
    StorageUnavailableError,
)

LEFTOVERS_AFTER: Final = timedelta(hours=1)
"""So long may a temporary file be left alone before it counts as left by a process that died."""

_FOLDER = records.READ_ONLY | os.O_DIRECTORY
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_A_FOLDER = {errno.ENOTDIR, errno.ELOOP}
_NOT_LINKABLE = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}


class ObjectFolder:
    """Every method blocks; `storage/local.py` runs them in the pool. Any number of processes may use one folder."""

    def __init__(self, root: Path, leftovers_after: timedelta = LEFTOVERS_AFTER) -> None:
        self._root = root.absolute()
        self._temporaries = self._root / ".tmp"
        self._leftovers_after = leftovers_after
        self._durable: set[str] = set()
        """Folders whose entries in their parents are known to be on disk."""
        with _translated():
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._temporaries.mkdir(exist_ok=True)
        self._sweep()

    def put_file(self, key: str, path: Path, content_type: str, sha256: str) -> StoredObject:
        if path.is_symlink() or not path.is_file():
            raise FileNotFoundError(errno.ENOENT, "no regular file", str(path))
        with _translated(), self._temporary() as content:
            _link_or_copy(path, content)
            size, found = _sync_and_hash(content)
            if found != sha256:
                raise ChecksumMismatchError(key)
            return self._place(key, content, _made(key, size, content_type, sha256))

    def put(self, key: str, data: bytes, content_type: str, sha256: str = "") -> StoredObject:
        """`sha256` where the caller has it already."""
        made = _made(key, len(data), content_type, sha256 or hashlib.sha256(data).hexdigest())
        with _translated(), self._temporary() as content:
            _write_synced(content, data)
            return self._place(key, content, made)

    def _place(self, key: str, content: str, made: StoredObject) -> StoredObject:
        *segments, name = key.split("/")
        with self._folder_to_write(segments) as folder:
            with _locked(folder, fcntl.LOCK_EX):
                present = records.intact(folder, name, made)
                if present is None:
                    failpoints.hit("storage.before_place")
                    self._place_record(folder, name, made)
                    os.replace(content, name, dst_dir_fd=folder)
                    failpoints.hit("storage.mid_place")
                os.utime(name, dir_fd=folder)  # when it was put last
            os.fsync(folder)
        if present is not None and present.sha256 != made.sha256:
            raise ObjectExistsError(key)
        return present or made

    def _place_record(self, folder: int, name: str, made: StoredObject) -> None:
        """Where the name does not say the same."""
        if records.said_by(name) == (made.sha256, made.content_type):
            _unlink(folder, records.file_name(name))  # of damaged content
            return
        with self._temporary() as record:
            _write_synced(record, msgspec.json.encode(made))
            os.replace(record, records.file_name(name), dst_dir_fd=folder)

    def get(self, key: str) -> bytes:
        record, file = self.open(key, 0)
        with _translated(), file:
            data = file.readall()
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise ObjectDamagedError(key)
        return data

    def open(self, key: str, start: int) -> tuple[StoredObject, FileIO]:
        with self._object(key) as (folder, name, record):
            file = FileIO(os.open(name, records.READ_ONLY, dir_fd=folder))
            file.seek(start)
            return record, file

    def stat(self, key: str) -> StoredObject:
        with self._object(key) as (_, _, record):
            return record

    def delete(self, key: str, unless_put_since: datetime | None) -> bool:
        *segments, name = key.split("/")
        with _translated():
            try:
                with self._folder(segments) as folder, _locked(folder, fcntl.LOCK_EX):
                    put_at = _put_at(folder, name)
                    if put_at is not None and unless_put_since is not None and put_at > unless_put_since.timestamp():
                        return False
                    _unlink(folder, name)
                    _unlink(folder, records.file_name(name))
                    os.fsync(folder)
                    return put_at is not None
            except _NoFolderError:
                return False

    def children(self, folder_key: str) -> list[str]:
        """Keys of objects in this folder, and of folders (they end with `/`), in the order of the keys below them."""
        try:
            with _translated(), self._folder(folder_key.split("/")[:-1]) as folder, os.scandir(folder) as entries:
                kinds = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries if not entry.is_symlink()}
        except _NoFolderError:
            return []
        return sorted(
            f"{folder_key}{name}{'/' if is_folder else ''}"
            for name, is_folder in kinds.items()
            if not name.startswith(".")
            and (is_folder or records.said_by(name) is not None or records.file_name(name) in kinds)
        )

    def check(self) -> None:
        with _translated():
            self._temporaries.mkdir(exist_ok=True)
            with self._temporary() as probe:
                _write_synced(probe, b"probe")
        self._sweep()

    def _sweep(self) -> None:
        """The time of the last change of status, not of content, is what counts: a linked file keeps its old mtime."""
        before = (clock.machine() - self._leftovers_after).timestamp()
        with _translated():
            for leftover in self._temporaries.iterdir():
                try:
                    if leftover.lstat().st_ctime <= before:
                        leftover.unlink()
                except FileNotFoundError:
                    continue

    @contextmanager
    def _temporary(self) -> Iterator[str]:
        path = f"{self._temporaries}/{secrets.token_hex(16)}"
        try:
            yield path
        finally:
            with suppress(FileNotFoundError):  # it has been renamed into its place
                os.unlink(path)  # noqa: PTH108 - a Path costs as much as the call

    @contextmanager
    def _object(self, key: str) -> Iterator[tuple[int, str, StoredObject]]:
        """Its folder, name and record, under a lock that keeps a put or a delete from falling in between."""
        *segments, name = key.split("/")
        with _translated():
            try:
                with self._folder(segments) as folder, _locked(folder, fcntl.LOCK_SH):
                    record = records.find(folder, name)
                    if record is None:
                        raise ObjectNotFoundError(key)
                    yield folder, name, msgspec.structs.replace(record, key=key, created=False)
            except _NoFolderError:
                raise ObjectNotFoundError(key) from None

    @contextmanager
    def _folder(self, segments: list[str]) -> Iterator[int]:
        """A descriptor of the folder. Raises _NoFolderError when a segment is missing, a file or a link."""
        descriptor = self._descend(segments)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _descend(self, segments: list[str]) -> int:
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for segment in segments:
            descriptor = _enter(descriptor, segment)
        return descriptor

    @contextmanager
    def _folder_to_write(self, segments: list[str]) -> Iterator[int]:
        """As `_folder`; makes what is missing, and sees to it once that the way to the folder is on disk."""
        try:
            if "/".join(segments) not in self._durable:
                self._make_folders(segments)
            descriptor = self._descend(segments)
        except _NoFolderError:
            descriptor = self._remade(segments)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _remade(self, segments: list[str]) -> int:
        """Of a folder that somebody has removed."""
        self._durable.clear()
        try:
            self._make_folders(segments)
            return self._descend(segments)
        except _NoFolderError as error:
            raise InvalidKeyError(f"{'/'.join(segments)!r} runs through an object or a link") from error

    def _make_folders(self, segments: list[str]) -> None:
        for depth in range(len(segments)):
            self._make_folder(segments[: depth + 1])

    def _make_folder(self, segments: list[str]) -> None:
        path = "/".join(segments)
        with self._folder(segments[:-1]) as parent:
            try:
                os.mkdir(segments[-1], dir_fd=parent)
            except FileExistsError:
                if path in self._durable:
                    return
            os.fsync(parent)
        self._durable.add(path)


class _NoFolderError(Exception):
    """Inside this file only: there is no such folder."""


def _enter(parent: int, segment: str) -> int:
    """Opens the folder below and closes the one above."""
    try:
        return os.open(segment, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        raise _NoFolderError from None
    except OSError as error:
        if error.errno in _NOT_A_FOLDER:
            raise _NoFolderError from None
        raise
    finally:
        os.close(parent)


def _put_at(folder: int, name: str) -> float | None:
    """Seconds since 1970; None when there is no such object."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return None


def read(file: FileIO, size: int) -> bytes:
    with _translated():
        return file.read(size) or b""


def _made(key: str, size: int, content_type: str, sha256: str) -> StoredObject:
    return StoredObject(
        key=key, size=size, content_type=content_type, sha256=sha256, modified=clock.machine(), created=True
    )


def _link_or_copy(source: Path, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NOT_LINKABLE:
            raise
        shutil.copyfile(source, target)


def _sync_and_hash(path: str) -> tuple[int, str]:
    with FileIO(os.open(path, records.READ_ONLY)) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size, sha256


def _write_synced(path: str, data: bytes) -> None:
    with FileIO(path, "x") as file:
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())


def _unlink(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass


@contextmanager
def _locked(folder: int, operation: int) -> Iterator[None]:
    """Among all processes; released when the descriptor closes, also by a crash."""
    fcntl.flock(folder, operation)
    try:
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError("no space is left in the storage folder") from error
        if error.errno == errno.EISDIR:
            raise InvalidKeyError("this key is the folder of other objects") from error
        raise StorageUnavailableError(f"the storage folder can't be used: {error.strerror}") from error

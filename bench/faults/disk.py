"""A disk that fills up: the one that images, drawn and stored, lie on.

As root it is a file system of its own in memory, which is full once it is made as small as what lies on it. Elsewhere
the kernel is told to let no file of the image worker and its children grow, which they see as a full disk too.
"""

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]

_SIZE: Final = "4g"
_TRIES: Final = 10


class Disk:
    """`where` says how it fills. Made by `mounted`."""

    def __init__(self, folder: Path, worker: Callable[[], int], *, mounted: bool) -> None:
        """`worker` names the pid of the image worker, 0 while there is none."""
        self._folder = folder
        self._ballast = folder / ".ballast"  # a size of 0, as of an empty folder, would mean no limit
        self._worker = worker
        self._mounted = mounted
        self._limited: set[int] = set()
        self.how = "a file system of its own" if mounted else "limits of the image worker's files"

    def fill(self) -> None:
        """Whoever writes now is told that no space is left. To be called again: other writers may have come."""
        if self._mounted:
            with contextlib.suppress(OSError):  # it is full already
                self._ballast.write_bytes(b"-")
            for _ in range(_TRIES):
                used = shutil.disk_usage(self._folder).used
                with contextlib.suppress(subprocess.CalledProcessError):  # it grew in between
                    _mount("-o", f"remount,size={used}", str(self._folder))
                    break
        else:
            self._limit(_family(self._worker()), 0)

    def clear(self) -> None:
        if self._mounted:
            _mount("-o", f"remount,size={_SIZE}", str(self._folder))
            self._ballast.unlink(missing_ok=True)
        else:
            self._limit(self._limited, resource.RLIM_INFINITY)
            self._limited = set()

    def _limit(self, pids: set[int], size: int) -> None:
        for pid in pids:
            with contextlib.suppress(psutil.Error, OSError, ValueError):
                process = psutil.Process(pid)
                _, most = process.rlimit(psutil.RLIMIT_FSIZE)
                process.rlimit(psutil.RLIMIT_FSIZE, (size if most == resource.RLIM_INFINITY else min(size, most), most))
                self._limited.add(pid)


@contextlib.contextmanager
def mounted(folder: Path, worker: Callable[[], int]) -> Iterator[Disk]:
    """A file system of its own at `folder`, where that is allowed; what lies on it at the end is kept in the folder."""
    folder.mkdir()
    if not _may_mount(folder):
        yield Disk(folder, worker, mounted=False)
        return
    try:
        yield Disk(folder, worker, mounted=True)
    finally:
        kept = folder.with_name(f"{folder.name}.kept")
        with contextlib.suppress(shutil.Error, OSError):  # sockets cannot be copied
            shutil.copytree(folder, kept, symlinks=True, dirs_exist_ok=True)
        subprocess.run(["umount", "--lazy", folder], check=False)
        folder.rmdir()
        kept.rename(folder)


def _may_mount(folder: Path) -> bool:
    if os.geteuid() != 0:
        return False
    try:
        _mount("-t", "tmpfs", "-o", f"size={_SIZE},mode=0700", "atelier-faults", str(folder))
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def _family(pid: int) -> set[int]:
    """The process and all that it has started; nobody for 0."""
    with contextlib.suppress(psutil.Error):
        if pid:
            process = psutil.Process(pid)
            return {pid, *(child.pid for child in process.children(recursive=True))}
    return set()

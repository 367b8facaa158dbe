"""The embedded PostgreSQL and Redis of one data folder, run by one process at a time.

Two locks keep them single. `atelier.lock` is this process's. `servers.lock` is inherited by the servers themselves, so
it is free exactly when the last of them has gone, whatever became of the process that started them: a second Redis on
the same files would ruin them without a word.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from runtime.embedded import postgres, redis
from runtime.embedded.errors import AlreadyRunningError, ServiceUnavailableError
from runtime.embedded.place import Place, choose_identity
from runtime.processes import Progress, StartError, Supervisor
from runtime.settings import Secret

__all__ = ["AlreadyRunningError", "EmbeddedServices", "Endpoints", "ServiceUnavailableError", "StartError"]

SOCKET_PATH_LIMIT = 103  # sun_path of macOS, less its final zero; Linux has 107
LEAVE_TIMEOUT = 30.0
NO_URL = Secret("")


@dataclass(frozen=True)
class Endpoints:
    """Empty for a server that was not asked for."""

    postgres_admin_url: Secret = NO_URL
    redis_url: Secret = NO_URL


class EmbeddedServices:
    """`async with EmbeddedServices(Path("var"), progress=print) as services: … services.endpoints …`

    To be used in the main thread. `changed` is called when a server began or ended (see `pids`). `fsync=False` is for
    tests: quicker, and a crash of the machine loses data.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        progress: Progress,
        changed: Callable[[], None] = lambda: None,
        postgres: bool = True,
        redis: bool = True,
        fsync: bool = True,
    ) -> None:
        self._folder = data_dir.resolve()
        self._wants_postgres, self._wants_redis = postgres, redis
        self._fsync = fsync
        self._progress = progress
        self._supervisor = Supervisor(progress, changed)
        self._cleanup = contextlib.AsyncExitStack()
        self.endpoints = Endpoints()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Raises AlreadyRunningError, ServiceUnavailableError or StartError; nothing is left running then."""
        async with contextlib.AsyncExitStack() as cleanup:
            self._folder.mkdir(parents=True, exist_ok=True)
            cleanup.enter_context(_own_lock(self._folder / "atelier.lock"))
            servers_lock = cleanup.enter_context(await _servers_lock(self._folder / "servers.lock", self._progress))
            run = cleanup.enter_context(_socket_folder(self._folder / "run"))
            cleanup.push_async_callback(self._supervisor.stop)
            if self._wants_redis:
                await self._start_redis(run, servers_lock)
            if self._wants_postgres:
                await self._start_postgres(run, servers_lock)
            self._cleanup = cleanup.pop_all()

    async def stop(self) -> None:
        await self._cleanup.aclose()

    def pids(self) -> dict[str, int]:
        return self._supervisor.pids()

    async def _start_redis(self, run: Path, lock: IO[str]) -> None:
        program = redis.find_program()
        server = redis.Redis(program, await self._place("redis", run, lock, program))
        server.prepare()
        self._progress("starting Redis")
        await self._supervisor.start(server.process())
        self.endpoints = replace(self.endpoints, redis_url=Secret(server.url()))

    async def _start_postgres(self, run: Path, lock: IO[str]) -> None:
        programs = postgres.find_programs(self._folder / "postgres")
        server = postgres.Postgres(programs, await self._place("postgres", run, lock, programs.path("postgres")))
        await server.prepare(self._progress)
        self._progress(f"starting PostgreSQL {programs.major}")
        await self._supervisor.start(server.process())
        self.endpoints = replace(self.endpoints, postgres_admin_url=Secret(server.url()))

    async def _place(self, name: str, run: Path, lock: IO[str], program: Path) -> Place:
        log = self._folder / "log" / f"{name}.log"
        place = Place(
            data=self._folder / name,
            run=run,
            log=log,
            identity=await choose_identity(program, log),
            fsync=self._fsync,
            kept=(lock.fileno(),),
        )
        place.own(run)
        return place


@contextlib.contextmanager
def _own_lock(path: Path) -> Iterator[None]:
    """Held until this process lets go or dies. The file names its holder, for the message only."""
    file = _try_lock(path)
    if file is None:
        raise AlreadyRunningError(
            f"{path.parent} is in use by process {path.read_text() or '?'}: "
            "stop that one first, or set ATELIER_DATA_DIR to another folder"
        )
    with file:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


async def _servers_lock(path: Path, progress: Progress) -> IO[str]:
    """Waits for the servers that a killed process has left behind; they were told to stop when it died."""
    deadline = time.monotonic() + LEAVE_TIMEOUT
    told = False
    while (file := _try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise AlreadyRunningError(f"servers of an earlier run still use {path.parent}: stop them first")
        if not told:
            progress("waiting for the servers of an earlier run to stop")
            told = True
        await asyncio.sleep(0.05)
    return file


def _try_lock(path: Path) -> IO[str] | None:
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextlib.contextmanager
def _socket_folder(place: Path) -> Iterator[Path]:
    """A new private folder: `place`, or one that it links to when its own path would not do for sockets."""
    _remove_folder(place)  # of a run that was killed
    if _does_for_sockets(place):
        place.mkdir(mode=0o700)
    else:
        place.symlink_to(tempfile.mkdtemp(prefix="atelier-"))
    try:
        folder = place.resolve()
        if not _does_for_sockets(folder):
            raise ServiceUnavailableError(f"{folder} does not do for sockets: set TMPDIR to a short and plain path")
        yield folder
    finally:
        _remove_folder(place)


def _does_for_sockets(folder: Path) -> bool:
    """Short enough, and the same text in a URL and in a list of addresses."""
    return len(os.fsencode(folder / postgres.SOCKET)) <= SOCKET_PATH_LIMIT and quote(str(folder)) == str(folder)


def _remove_folder(place: Path) -> None:
    shutil.rmtree(place.resolve(), ignore_errors=True)
    place.unlink(missing_ok=True)

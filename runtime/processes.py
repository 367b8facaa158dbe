"""Child processes that are kept alive: started, watched, restarted when they die unasked, rolled, stopped in order.

They never outlive this process (`launcher.py`), and Ctrl-C in a terminal reaches this process alone, because each of
them has a session of its own.
"""

import asyncio
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

from runtime import endings, forking, launcher
from runtime.forking import Forked, ForkServer

ReadyCheck = Callable[[], Awaitable[bool]]
Progress = Callable[[str], None]
Identity = Literal["same", "namespace", "nobody"]

LOG_LIMIT = 16 * 1024 * 1024
LOG_LOOK_SECONDS = 30.0
CRASH_LOOP = 3
"""Lives in a row that ended young. From then on the last thing that the process said is told with each end."""


class StartError(Exception):
    """A process did not become ready. The text is one line and names its log."""


@dataclass(frozen=True)
class Restart:
    """The pause before a restart doubles while the process keeps dying younger than `calm`. All in seconds."""

    first: float = 0.1
    longest: float = 10.0
    calm: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Process:
    """What is to run. Durations are seconds."""

    name: str
    argv: tuple[str, ...]
    log: Path
    """Gets standard output and error. One older file is kept beside it."""
    env: Mapping[str, str] | None = None
    """None: this process's own."""
    ready: ReadyCheck | None = None
    """Asked again and again until it says yes. None: the process calls `activation.announce_ready()`."""
    ready_timeout: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    """Sent to stop it, and by the kernel when this process dies."""
    stop_timeout: float = 30.0
    restart: Restart = Restart()
    sockets: tuple[socket.socket, ...] = ()
    """Listening sockets for `activation.listening_sockets()`; they stay ours, so that a roll loses no connection."""
    kept: tuple[int, ...] = ()
    """Further descriptors to inherit, at numbers of the launcher's choice."""
    identity: Identity = "same"
    niceness: int = 0
    """How readily it leaves the processor to others: from 0, not at all, to 19."""
    forked: bool = False
    """May come out of the supervisor's fork server. `argv` is then `python -m …`; neither `kept` nor `identity` is
    given.
    """


@dataclass(frozen=True)
class _Run:
    """One life of a process."""

    process: Process
    handle: asyncio.subprocess.Process | Forked
    log_start: int

    def alive(self) -> bool:
        return self.handle.returncode is None

    async def ended(self) -> int:
        """The exit status. Keeps the log from growing without bound meanwhile."""
        ending = asyncio.ensure_future(self.handle.wait())
        try:
            while not (await asyncio.wait([ending], timeout=LOG_LOOK_SECONDS))[0]:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(_cut_log, self.process.log)
            return ending.result()
        finally:
            ending.cancel()

    async def end(self, progress: Progress) -> None:
        """Asks it to stop, and kills it in the end."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                self.handle.send_signal(self.process.stop_signal)
            try:
                await asyncio.wait_for(self.handle.wait(), self.process.stop_timeout)
            except TimeoutError:
                progress(f"{self.process.name} did not stop within {self.process.stop_timeout:g} s; killing it")
        await self.kill()

    async def kill(self) -> None:
        """Leaves nothing alive of it, nor of its own children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.handle.pid, signal.SIGKILL)
        await self.handle.wait()

    def failed(self, how: str) -> StartError:
        with self.process.log.open("rb") as log:
            log.seek(self.log_start)
            said = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        telling = [line for line in said if "FATAL" in line] or said or ["it said nothing"]
        return StartError(f"{self.process.name} {how}: {telling[-1]} (see {self.process.log})")


@dataclass
class _Child:
    """A process that is kept alive: its present or latest run, and the task that starts the next one."""

    run: _Run
    ready_at: float
    pause: float
    young_deaths: int = 0
    keeper: asyncio.Task[None] | None = None


@dataclass
class Supervisor:
    """Lives in one event loop, in the main thread: children die with the thread that started them.

    `changed` is called when a process has become ready or has ended, with `pids()` as it then is. `forkserver` is used
    while a process called `forking.NAME`, which listens to it, is one of those that are alive here.
    """

    progress: Progress
    changed: Callable[[], None] = lambda: None
    forkserver: ForkServer | None = None
    _children: dict[str, _Child] = field(default_factory=dict)
    _groups: list[list[str]] = field(default_factory=list)
    """The names of those started together, in the order of `start`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def pids(self) -> dict[str, int]:
        """By name; one that has died is not there until it is ready again."""
        return {name: child.run.handle.pid for name, child in self._children.items() if child.run.alive()}

    async def start(self, *processes: Process) -> None:
        """Starts them together, returns when all are ready, and keeps them alive from then on.

        Raises the first StartError; then nothing is left of any.
        """
        beginnings = [asyncio.create_task(self._begin(process, {})) for process in processes]
        try:
            children = await asyncio.gather(*beginnings)
        except BaseException:
            for beginning in beginnings:
                beginning.cancel()
            begun = await asyncio.gather(*beginnings, return_exceptions=True)
            await asyncio.gather(*(self._end(child) for child in begun if isinstance(child, _Child)))
            raise
        self._children |= {child.run.process.name: child for child in children}
        self._groups.append([process.name for process in processes])
        self.changed()

    async def roll(self, name: str, env: Mapping[str, str] | None = None) -> None:
        """Starts a second process of that name, waits until it is ready, then stops the first. `env` is further
        environment for the one life that begins: should it die, what is started in its place goes without. It is not
        forked, since some variables count only where an interpreter starts.

        Raises StartError when the new one fails; the old one then just goes on.
        """
        new = await self._begin(self._children[name].run.process, env or {})
        old, self._children[name] = self._children[name], new
        await self._end(old)
        self.changed()

    async def stop(self, *names: str) -> None:
        """Stops those named, together; without names all: the last started first, what started together together."""
        for group in [names] if names else reversed(self._groups):
            ending = [self._children.pop(name) for name in group if name in self._children]
            await asyncio.gather(*(self._end(child) for child in ending))
            self.changed()

    async def _begin(self, process: Process, env: Mapping[str, str]) -> _Child:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("child processes must be started from the main thread")
        child = _Child(await self._launch(process, env), ready_at=time.monotonic(), pause=process.restart.first)
        child.keeper = asyncio.create_task(self._keep(child), name=f"keep {process.name}")
        return child

    async def _end(self, child: _Child) -> None:
        if child.keeper:
            child.keeper.cancel()
            await asyncio.wait([child.keeper])
        await child.run.end(self.progress)

    async def _launch(self, process: Process, extra: Mapping[str, str]) -> _Run:
        with _readiness(process) as (check, env):
            forked = None if extra else self._fork(process, env)
            run = forked or await _spawn(process, {**extra, **env})
            try:
                await _wait_until_ready(run, check)
            except BaseException:
                await run.end(self.progress)
                raise
        return run

    def _fork(self, process: Process, env: Mapping[str, str]) -> _Run | None:
        """None where that cannot be, for whatever reason: then it is started by itself."""
        server = self._children.get(forking.NAME)
        if not (self.forkserver and process.forked and server and server.run.alive()):
            return None
        order = {
            "parent": os.getpid(),
            "death_signal": process.stop_signal,
            "niceness": process.niceness,
            "arguments": process.argv[2:],
            "env": _environment(process, env),
        }
        with _open_log(process.log) as log:
            log_start = log.tell()
            try:
                handle = self.forkserver.fork(order, log.fileno(), [each.fileno() for each in process.sockets])
            except OSError as error:
                self.progress(f"{process.name} could not be forked ({error}); starting it by itself")
                return None
        return _Run(process, handle, log_start)

    async def _keep(self, child: _Child) -> None:
        while True:
            status = await child.run.ended()
            await child.run.kill()
            self.changed()
            if time.monotonic() - child.ready_at > child.run.process.restart.calm:
                child.pause, child.young_deaths = child.run.process.restart.first, 0
            await self._revive(child, _told(child, endings.told(status)))
            self.changed()

    async def _revive(self, child: _Child, trouble: str) -> None:
        process = child.run.process
        while trouble:
            self.progress(f"{trouble}; starting it again in {child.pause:g} s")
            await asyncio.sleep(child.pause)
            child.pause = min(child.pause * 2, process.restart.longest)
            try:
                child.run, child.ready_at, trouble = await self._launch(process, {}), time.monotonic(), ""
            except (StartError, OSError) as error:
                trouble = _again(child, str(error))


def _told(child: _Child, ending: str) -> str:
    """Of a process that was ready."""
    if child.young_deaths < CRASH_LOOP - 1:
        return _again(child, f"{child.run.process.name} {ending}")
    return _again(child, str(child.run.failed(ending)))


def _again(child: _Child, trouble: str) -> str:
    child.young_deaths += 1
    return f"{trouble} (crash loop: {child.young_deaths} in a row)" if child.young_deaths >= CRASH_LOOP else trouble


async def run(process: Process) -> None:
    """Runs a process to its end. Raises StartError unless it ends with status 0."""
    only = await _spawn(process, {})
    try:
        status = await only.handle.wait()
    finally:
        await only.kill()
    if status != 0:
        raise only.failed(endings.told(status))


async def _spawn(process: Process, env: Mapping[str, str]) -> _Run:
    sockets = [each.fileno() for each in process.sockets]
    order = {
        "parent": os.getpid(),
        "death_signal": process.stop_signal,
        "identity": process.identity,
        "niceness": process.niceness,
        "sockets": sockets,
        "kept": process.kept,
    }
    with _open_log(process.log) as log:
        log_start = log.tell()
        handle = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", launcher.__file__, json.dumps(order), *process.argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(process, env),
            start_new_session=True,
            pass_fds=(*sockets, *process.kept),
        )
        return _Run(process, handle, log_start)


def _environment(process: Process, more: Mapping[str, str]) -> dict[str, str]:
    given = dict(os.environ if process.env is None else process.env)
    given.pop("NOTIFY_SOCKET", None)  # whoever started this process hears from this process alone
    return given | dict(more)


@contextlib.contextmanager
def _readiness(process: Process) -> Iterator[tuple[ReadyCheck, Mapping[str, str]]]:
    """The check to ask, and the environment that the process needs in order to pass it."""
    if process.ready:
        yield process.ready, {}
        return
    with (
        tempfile.TemporaryDirectory(prefix="ready-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox,
    ):
        address = f"{folder}/notify"
        inbox.bind(address)
        inbox.setblocking(False)
        yield functools.partial(_announced, inbox), {"NOTIFY_SOCKET": address}


async def _announced(inbox: socket.socket) -> bool:
    try:
        return b"READY=1" in inbox.recv(4096).splitlines()
    except BlockingIOError:
        return False


async def _wait_until_ready(run: _Run, check: ReadyCheck) -> None:
    pause = 0.005
    try:
        async with asyncio.timeout(run.process.ready_timeout):
            while run.alive():
                if await check():
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.1)
    except TimeoutError:
        raise run.failed(f"was not ready within {run.process.ready_timeout:g} s") from None
    raise run.failed(f"{endings.told(await run.handle.wait())} before it was ready")


def _open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_name(path.name + ".old"))
    return path.open("ab")


def _cut_log(path: Path) -> None:
    """Of a process that has it open, in append mode: the same file goes on, empty. What is written between the copy and
    the cut is lost. Raises OSError.
    """
    if path.stat().st_size > LOG_LIMIT:
        shutil.copyfile(path, path.with_name(path.name + ".old"))
        os.truncate(path, 0)

"""Child processes that are kept alive: started, watched, restarted when they die unasked, rolled, stopped in order.

They never outlive this process (`launcher.py`), and Ctrl-C in a terminal reaches this process alone, because each of
them has a session of its own.
"""

import asyncio
import contextlib
import functools
import json
import os
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

from runtime import launcher

ReadyCheck = Callable[[], Awaitable[bool]]
Progress = Callable[[str], None]
Identity = Literal["same", "namespace", "nobody"]

LOG_LIMIT = 16 * 1024 * 1024


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
    stop_timeout: float = 20.0
    restart: Restart = Restart()
    sockets: tuple[socket.socket, ...] = ()
    """Listening sockets for `activation.listening_sockets()`; they stay ours, so that a roll loses no connection."""
    kept: tuple[int, ...] = ()
    """Further descriptors to inherit, at numbers of the launcher's choice."""
    identity: Identity = "same"


@dataclass
class _Child:
    process: Process
    handle: asyncio.subprocess.Process | None = None
    ready_at: float = 0.0
    keeper: asyncio.Task[None] | None = None

    def alive(self) -> bool:
        return self.handle is not None and self.handle.returncode is None


@dataclass
class Supervisor:
    """Lives in one event loop, in the main thread: children die with the thread that started them.

    `changed` is called when a process has become ready or has ended, with `pids()` as it then is.
    """

    progress: Progress
    changed: Callable[[], None] = lambda: None
    _children: dict[str, _Child] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.stop()

    def pids(self) -> dict[str, int]:
        """The ids of those alive at the moment, by name."""
        return {
            name: child.handle.pid
            for name, child in self._children.items()
            if child.handle is not None and child.alive()
        }

    async def start(self, process: Process) -> None:
        """Returns when it is ready, and keeps it alive from then on. Raises StartError; then nothing is left of it."""
        self._children[process.name] = await self._begin(process)
        self.changed()

    async def roll(self, name: str) -> None:
        """Starts a second process of that name, waits until it is ready, then stops the first.

        Raises StartError when the new one fails; the old one then just goes on.
        """
        new = await self._begin(self._children[name].process)
        old, self._children[name] = self._children[name], new
        await self._end(old)
        self.changed()

    async def stop(self, *names: str) -> None:
        """Stops those named, together; without names all, one after the other, the last started first."""
        if names:
            await asyncio.gather(*(self._end(self._children.pop(name)) for name in names))
            self.changed()
        else:
            for name in reversed(list(self._children)):
                await self.stop(name)

    async def _begin(self, process: Process) -> _Child:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("child processes must be started from the main thread")
        child = _Child(process)
        try:
            await self._launch(child)
        except BaseException:
            await self._end(child)
            raise
        child.keeper = asyncio.create_task(self._keep(child), name=f"keep {process.name}")
        return child

    async def _launch(self, child: _Child) -> None:
        with _readiness(child.process) as (check, env):
            child.handle = await _spawn(child.process, env)
            await _wait_until_ready(child.process, child.handle, check)
        child.ready_at = time.monotonic()

    async def _keep(self, child: _Child) -> None:
        name, restart = child.process.name, child.process.restart
        pause = restart.first
        while child.handle is not None:
            status = await child.handle.wait()
            _kill_group(child.handle.pid)
            self.changed()
            if time.monotonic() - child.ready_at > restart.calm:
                pause = restart.first
            self.progress(f"{name} {_ending(status)}; starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, restart.longest)
            try:
                await self._launch(child)
                self.changed()
            except (StartError, OSError) as error:
                self.progress(str(error))
                _kill_group(child.handle.pid)

    async def _end(self, child: _Child) -> None:
        if child.keeper:
            child.keeper.cancel()
            await asyncio.wait([child.keeper])
        if child.handle is None:
            return
        if child.alive():
            with contextlib.suppress(ProcessLookupError):
                child.handle.send_signal(child.process.stop_signal)
            try:
                await asyncio.wait_for(child.handle.wait(), child.process.stop_timeout)
            except TimeoutError:
                self.progress(f"{child.process.name} did not stop within {child.process.stop_timeout:g} s; killing it")
        _kill_group(child.handle.pid)
        await child.handle.wait()


async def run(process: Process) -> None:
    """Runs a process to its end. Raises StartError unless it ends with status 0."""
    handle = await _spawn(process, {})
    try:
        status = await handle.wait()
    finally:
        _kill_group(handle.pid)
        await handle.wait()
    if status != 0:
        raise _failed(process, _ending(status))


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


async def _spawn(process: Process, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    sockets = [each.fileno() for each in process.sockets]
    order = {
        "parent": os.getpid(),
        "death_signal": process.stop_signal,
        "identity": process.identity,
        "sockets": sockets,
        "kept": process.kept,
    }
    with _open_log(process.log) as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", launcher.__file__, json.dumps(order), *process.argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**(os.environ if process.env is None else process.env), **env},
            start_new_session=True,
            pass_fds=(*sockets, *process.kept),
        )


async def _wait_until_ready(process: Process, handle: asyncio.subprocess.Process, check: ReadyCheck) -> None:
    pause = 0.005
    try:
        async with asyncio.timeout(process.ready_timeout):
            while handle.returncode is None:
                if await check():
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.1)
    except TimeoutError:
        raise _failed(process, f"was not ready within {process.ready_timeout:g} s") from None
    raise _failed(process, f"{_ending(handle.returncode)} before it was ready")


def _failed(process: Process, how: str) -> StartError:
    return StartError(f"{process.name} {how}: {_last_words(process.log)} (see {process.log})")


def _open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_name(path.name + ".old"))
    return path.open("ab")


def _last_words(log: Path) -> str:
    """The line that most likely says what went wrong."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()[-20:] if line.strip()]
    fatal = [line for line in lines if "FATAL" in line]
    return (fatal or lines or ["it said nothing"])[-1]


def _ending(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _kill_group(pid: int) -> None:
    """Ends what a dead process has left behind of its own children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)

"""Child processes forked from one that has imported their program: they share the memory of its imports, and begin in
milliseconds. That one (`child.fork_children`) has done nothing else: there is nothing in it that a child must not know.
"""

import asyncio
import os
import select
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Final

from runtime import child
from runtime.forking import ForkServer
from runtime.telemetry import logs

log = logs.logger(__name__)

_START_SECONDS: Final = 30.0
_REST_SECONDS: Final = 60.0
"""After a start that failed: each try costs a whole interpreter, and children can start by themselves meanwhile."""


class Offspring:
    """A child of ours that another process has forked: as much of `subprocess.Popen` as a pool needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._returncode: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        with self._lock:
            if self._returncode is None:
                self._returncode = self._reaped()
            return self._returncode

    def _reaped(self) -> int | None:
        try:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else has: how it ended is not known
            return -signal.SIGKILL
        return os.waitstatus_to_exitcode(status) if ended else None

    def kill(self) -> None:
        with self._lock:
            if self._returncode is None:
                os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Blocks. Raises subprocess.TimeoutExpired."""
        with self._lock:
            watched = os.pidfd_open(self.pid) if self._returncode is None else None
        if watched is not None:
            try:
                poller = select.poll()
                poller.register(watched, select.POLLIN)
                poller.poll(None if timeout is None else timeout * 1000)
            finally:
                os.close(watched)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("child", timeout or 0)
        return code


class Origin:
    """The process that forks, started when it is first needed, and again after its end."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._server: ForkServer | None = None
        self._starting = asyncio.Lock()
        self._rests_until = 0.0

    async def fork(self, folder: Path, errors: int, calls: int) -> Offspring | None:
        """None where that cannot be, for whatever reason. In the thread of the event loop: the kernel ties "dies with
        its parent" to it.
        """
        born: list[Offspring] = []

        def bear(pid: int) -> Offspring:
            born.append(Offspring(pid))
            return born[0]

        try:
            async with self._starting:
                server = await self._ready()
                return server.order({"folder": str(folder)}, errors, [calls], bear)
        except OSError as error:  # it is frozen, or has ended: the next child has a new one
            log.warning("a child could not be forked; it starts by itself", error=type(error).__name__)
            self.close()
            for child_without_orders in born:
                child_without_orders.kill()
                await asyncio.to_thread(child_without_orders.wait)
            return None

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        if self._server:
            self._server.close()
        self._process = self._server = None

    async def _ready(self) -> ForkServer:
        """Raises OSError."""
        if self._server and self._process and self._process.poll() is None:
            return self._server
        self.close()
        if time.monotonic() < self._rests_until:
            raise OSError("it could not be started a moment ago")
        self._rests_until = time.monotonic() + _REST_SECONDS
        self._server = ForkServer()
        try:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a vfork, from this thread
                child.command("fork_children", self._program, str(os.getpid())),
                stdin=self._server.theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
            )
            self._server.theirs.close()  # so that its end is noticed
            await self._server.ready(_START_SECONDS)
            self._rests_until = 0.0
        except BaseException:
            self.close()
            raise
        return self._server

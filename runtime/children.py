"""Warm child processes with limits, for work that is heavy on the CPU or handles hostile input.

A pool keeps `size` children, each of which has loaded one program (see `runtime/child.py`) and answers one call at a
time. A child has an empty environment, its own scratch folder as working directory, limits on memory, CPU and file
size, no network where the kernel allows that, and dies with its parent. Those of one pool may be `related`: forked from
one process that has imported the program. One that dies, overruns or whose caller is
cancelled is killed and replaced at once; one that has answered `recycle_after` calls is replaced when its successor
is warm, so that no call waits for that.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from runtime import child, clock, failpoints, forkserver
from runtime.offspring import Offspring, Origin

_PREFIX, _ERRORS = "child-", "stderr"

Reason = Literal["killed", "timed_out", "out_of_memory", "failed", "not_started"]


class ChildDiedError(Exception):
    """The child did not answer: its process ended, was ended, or its program raised. `detail` is for logs only."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bytes and seconds. `cpu` and `wall` count per call; the CPU limit has a granularity of one second."""

    memory: int = 1 << 30
    cpu: float = 10.0
    wall: float = 20.0
    start: float = 30.0
    file: int = 256 << 20
    answer: int = 64 << 20
    niceness: int = 10
    recycle_after: int = 5000


class _Child:
    """One process, from its start to its end. Spoken to over a socket pair, whose end is how its death is noticed:
    asyncio's own subprocesses can hang for good when they are cancelled as they start.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes] | Offspring,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        folder: Path,
        limits: Limits,
    ) -> None:
        self.calls = 0
        self.spent = False
        self.confinement = child.Confinement()
        self._process = process
        self._reader, self._writer = streams
        self._folder = folder
        self._limits = limits

    @classmethod
    async def start(cls, program: str, init: bytes, scratch: Path, limits: Limits, origin: Origin | None) -> "_Child":
        folder, errors = _prepare(scratch)  # not in a thread: cancelled there, both would be left behind
        ours, theirs = socket.socketpair()
        try:
            streams = await asyncio.open_unix_connection(sock=ours)
            forked = await origin.fork(folder, errors.fileno(), theirs.fileno()) if origin else None
            process = forked or _spawned(folder, errors, theirs)
        except BaseException:
            ours.close()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            errors.close()
            theirs.close()
        started = cls(process, streams, folder, limits)
        try:
            answer = await started._exchange(_orders(program, init, limits), limits.start)
        except (Exception, asyncio.CancelledError) as error:
            await asyncio.shield(started.end())
            if isinstance(error, ChildDiedError):
                raise ChildDiedError("not_started", str(error)) from None
            raise
        started.confinement = msgspec.msgpack.decode(answer, type=child.Confinement)
        return started

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def call(self, payload: bytes) -> bytes:
        """Whatever keeps the answer from arriving, cancellation too, kills the process."""
        self.calls += 1
        return await self._exchange(payload, self._limits.wall)

    async def end(self) -> None:
        """Kills, reaps, and removes the scratch folder."""
        self._process.kill()
        self._writer.close()
        await asyncio.to_thread(_clean_up, self._process, self._folder)

    async def _exchange(self, payload: bytes, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                status, body = await self._speak(payload)
        except TimeoutError:
            self._process.kill()
            raise ChildDiedError("timed_out", f"no answer within {seconds:g} s") from None
        except (asyncio.IncompleteReadError, OSError):
            raise await self._post_mortem() from None
        except BaseException:
            self._process.kill()
            raise
        if status == child.ANSWER:
            return body
        self._process.kill()
        if status == child.LAST_ANSWER:
            self.spent = True
            return body
        raise ChildDiedError("out_of_memory" if status == child.NO_MEMORY else "failed", body.decode())

    async def _speak(self, payload: bytes) -> tuple[bytes, bytes]:
        self._writer.write(child.frame(payload))
        await self._writer.drain()
        size = int.from_bytes(await self._reader.readexactly(4), "big")
        if size > self._limits.answer:
            raise ChildDiedError("failed", f"an answer of {size} bytes, where {self._limits.answer} are allowed")
        answer = await self._reader.readexactly(size)
        return answer[:1], answer[1:]

    async def _post_mortem(self) -> ChildDiedError:
        code, said = await asyncio.to_thread(_last_words, self._process, self._folder / _ERRORS)
        if code == -signal.SIGXCPU:
            return ChildDiedError("timed_out", f"more than {self._limits.cpu:g} s of CPU time")
        if "memory allocation of" in said or "MemoryError" in said:  # how Rust and Python end without memory
            return ChildDiedError("out_of_memory", said)
        return ChildDiedError("killed", f"ended with {code}: {said}".rstrip(": "))


class _Slot:
    """A place in the pool, with the child in it, or the one that is being started for it."""

    def __init__(self, start: Callable[[], Coroutine[None, None, _Child]]) -> None:
        self.busy = False
        self._start = start
        self._closed = False
        self._present: asyncio.Task[_Child] | None = None
        self._successor: asyncio.Task[_Child] | None = None
        self._endings: set[asyncio.Task[None]] = set()

    async def child(self) -> _Child:
        """Raises ChildDiedError when none can be started."""
        if self._closed:
            raise ChildDiedError("not_started", "the pool is closed")
        if self._present is None or _failed(self._present):
            self._present = asyncio.create_task(self._start())
        elif self._present.done() and not self._present.result().alive:  # it died while it had nothing to do
            self.replace()
        return await asyncio.shield(self._present)

    def replace(self) -> None:
        """The child is of no more use: its place is filled at once, by the successor if there is one."""
        if not self._closed:
            if self._present is not None:
                self._end(self._present)
            self._present, self._successor = self._successor or asyncio.create_task(self._start()), None

    @property
    def warm(self) -> bool:
        present = self._present
        return present is not None and present.done() and not _failed(present) and present.result().alive

    def prepare_successor(self) -> None:
        if not self._closed and (self._successor is None or _failed(self._successor)):
            self._successor = asyncio.create_task(self._start())
            self._successor.add_done_callback(lambda _: self.hand_over())

    def hand_over(self) -> None:
        """To the successor, once it is warm and no call is under way."""
        if not self.busy and self._successor is not None and self._successor.done() and not _failed(self._successor):
            self.replace()

    async def close(self) -> None:
        self._closed = True
        for task in (self._present, self._successor):
            if task is not None:
                self._end(task)
        self._present = self._successor = None
        await asyncio.gather(*self._endings)

    def _end(self, task: asyncio.Task[_Child]) -> None:
        ending = asyncio.create_task(_end(task))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


class ChildPool:
    """`program` is the name of a module with `start(init)`. Belongs to the event loop that first uses it."""

    def __init__(
        self,
        program: str,
        *,
        size: int,
        scratch: Path,
        init: bytes = b"",
        limits: Limits | None = None,
        related: bool = False,
    ) -> None:
        self.limits = limits or Limits()
        self._scratch = scratch.absolute()
        self._origin = Origin(program) if related and forkserver.possible() else None
        start = partial(_Child.start, program, init, self._scratch, self.limits, self._origin)
        self._slots = [_Slot(start) for _ in range(size)]
        self._free = deque(self._slots)
        self._waiting: deque[asyncio.Future[_Slot]] = deque()
        self._ahead: deque[asyncio.Future[_Slot]] = deque()

    async def warm(self) -> None:
        """Starts every child. Raises ChildDiedError (`not_started`) with what the child said."""
        await asyncio.gather(*(slot.child() for slot in self._slots))

    @property
    def is_warm(self) -> bool:
        """Whether some child could take a call, or carries one out: one that died lately has a successor on its way."""
        return any(slot.warm for slot in self._slots)

    async def call(self, payload: bytes, *, ahead: bool = False) -> bytes:
        """Waits for a free child, if `ahead` before all that are not. Raises ChildDiedError; a cancelled caller's child
        is killed at once.
        """
        slot = self._free.popleft() if self._free else await self._turn(self._ahead if ahead else self._waiting)
        slot.busy = True
        try:
            return await self._call(slot, payload)
        finally:
            slot.busy = False
            slot.hand_over()
            self._give(slot)

    async def _turn(self, line: deque[asyncio.Future[_Slot]]) -> _Slot:
        turn: asyncio.Future[_Slot] = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(turn.result())
            raise

    def _give(self, slot: _Slot) -> None:
        """To whom it is owed."""
        for line in (self._ahead, self._waiting):
            while line:
                turn = line.popleft()
                if not turn.done():
                    turn.set_result(slot)
                    return
        self._free.append(slot)

    async def _call(self, slot: _Slot, payload: bytes) -> bytes:
        present = await slot.child()
        try:
            answer = await present.call(payload)
        except BaseException:
            slot.replace()
            raise
        if present.spent:
            slot.replace()
        elif present.calls >= self.limits.recycle_after:
            slot.prepare_successor()
        return answer

    async def confinement(self) -> child.Confinement:
        """What of the confinement this machine allows, as a child has found by trying."""
        return (await self._slots[0].child()).confinement

    async def close(self) -> None:
        await asyncio.gather(*(slot.close() for slot in self._slots))
        if self._origin:
            await asyncio.to_thread(self._origin.close)


async def _end(task: asyncio.Task[_Child]) -> None:
    """Ends a child, or the start of one; a failed start has cleaned up after itself."""
    task.cancel()
    with contextlib.suppress(ChildDiedError, asyncio.CancelledError):
        await (await task).end()


def _failed(start: asyncio.Task[_Child]) -> bool:
    return start.done() and (start.cancelled() or start.exception() is not None)


def _orders(program: str, init: bytes, limits: Limits) -> bytes:
    return msgspec.msgpack.encode(
        child.Orders(
            program=program,
            init=init,
            parent=os.getpid(),
            memory_limit=limits.memory,
            cpu_seconds=limits.cpu,
            file_limit=limits.file,
            niceness=limits.niceness,
            failpoints=failpoints.watched(),
        )
    )


def _spawned(folder: Path, errors: BinaryIO, calls: socket.socket) -> subprocess.Popen[bytes]:
    """From this thread, by a vfork: the kernel ties "dies with its parent" to the thread that forked."""
    return subprocess.Popen(
        child.command("main"), stdin=calls.fileno(), stdout=calls.fileno(), stderr=errors, cwd=folder, env={}
    )


def _prepare(scratch: Path) -> tuple[Path, BinaryIO]:
    """A folder for one child, and the file that it inherits as stderr, locked for as long as the child lives."""
    scratch.mkdir(parents=True, exist_ok=True)
    _sweep(scratch)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=scratch))
    errors = (folder / _ERRORS).open("wb")
    fcntl.flock(errors, fcntl.LOCK_EX)
    return folder, errors


def _sweep(scratch: Path) -> None:
    """Removes what children left whose parent was killed. A folder is made before it is locked, hence the minute."""
    for folder in scratch.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < clock.machine().timestamp() - 60:
                with (folder / _ERRORS).open("rb") as errors:
                    fcntl.flock(errors, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)


def _clean_up(process: subprocess.Popen[bytes] | Offspring, folder: Path) -> None:
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _last_words(process: subprocess.Popen[bytes] | Offspring, errors: Path, most: int = 2000) -> tuple[int, str]:
    """The exit status, and the end of what was written to stderr."""
    try:
        process.wait(timeout=1)
    except subprocess.TimeoutExpired:  # it closed its socket and lives on
        process.kill()
    code = process.wait()
    with contextlib.suppress(OSError):
        return code, errors.read_bytes()[-most:].decode(errors="replace").strip()
    return code, ""

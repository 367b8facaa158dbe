"""Processes out of a fork server (`forkserver.py`): asking for them, and waiting for their end."""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

Child = TypeVar("Child")

NAME: Final = "forkserver"
"""Of the process at the other end, in the supervisor that keeps it alive."""
PATIENCE: Final = 2.0
"""Seconds, for an answer that takes milliseconds."""


class Forked:
    """A child of ours that somebody else has made: as much of `asyncio.subprocess.Process` as a supervisor needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.get_running_loop().create_future()
        self._watched = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._watched, self._reap)

    async def wait(self) -> int:
        return int(await asyncio.shield(self._ended))

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._watched)
        os.close(self._watched)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set_result(self.returncode)


class ForkServer:
    """The way to the process, for all its lives: `theirs` is the socket on which each of them listens."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(PATIENCE)

    def close(self) -> None:
        self._ours.close()
        self.theirs.close()

    async def ready(self, seconds: float) -> None:
        """Waits until it says so. Raises OSError when it does not, or ends."""
        self._ours.setblocking(False)
        async with asyncio.timeout(seconds):
            if not await asyncio.get_running_loop().sock_recv(self._ours, 1):
                raise ConnectionError("the fork server has ended")
        self._ours.settimeout(PATIENCE)

    def fork(self, order: Mapping[str, object], log: int, sockets: Sequence[int]) -> Forked:
        """Raises OSError when none comes."""
        return self.order(order, log, sockets, Forked)

    def order(
        self, order: Mapping[str, object], log: int, sockets: Sequence[int], born: Callable[[int], Child]
    ) -> Child:
        """`born` makes of its number what cares for it. Raises OSError when none comes. The event loop stands still
        meanwhile: nothing can come between the fork and the care for what was forked.
        """
        channel, its = socket.socketpair()
        with channel:
            channel.settimeout(PATIENCE)
            with its:
                socket.send_fds(self._ours, [b"\0"], [its.fileno(), log, *sockets])
            pid = channel.recv(32)
            if not pid:
                raise ConnectionError("the fork server has ended")
            forked = born(int(pid))
            channel.sendall(json.dumps(order).encode())
        return forked

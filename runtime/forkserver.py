"""A process that has imported what others need and becomes any of them by a fork: they share the memory of their
imports, and begin in milliseconds. Run as `python -m runtime.forkserver MODULE…`; `forking.py` is the other side.

It has one thread, has opened nothing and holds no secret: an order is read by the process that it is for. What it forks
is a child of its own parent (CLONE_PARENT), as if that had started it: nothing depends on this process once the fork
is made.
"""

import ctypes
import gc
import importlib
import json
import os
import platform
import runpy
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from runtime import activation, launcher

CLONE: Final = {"x86_64": 56, "aarch64": 220}
"""The number of clone(2), whose first argument holds the flags on each of these machines."""
CLONE_PARENT: Final = 0x8000  # linux/sched.h
MOST_DESCRIPTORS: Final = 16


def possible() -> bool:
    """Where processes can be cloned, and watched by descriptors, which an old kernel or a sandbox may refuse."""
    if sys.platform != "linux" or platform.machine() not in CLONE:
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def fork_sibling() -> int:
    """`os.fork`, except that the parent of the new process is that of this one, which must have a single thread.

    Raises OSError.
    """
    interpreter, system = ctypes.pythonapi, ctypes.PyDLL(None, use_errno=True)  # both keep the interpreter's lock
    flags = ctypes.c_ulong(CLONE_PARENT | signal.SIGCHLD)
    interpreter.PyOS_BeforeFork()
    pid = int(system.syscall(CLONE[platform.machine()], flags, 0, 0, 0, 0))
    if pid == 0:
        interpreter.PyOS_AfterFork_Child()
    else:
        interpreter.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return pid


def settle() -> None:
    """Before the first fork."""
    gc.collect()
    gc.freeze()  # a collection writes into what it looks at, which ends the sharing
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        sys.exit("something that was imported has started a thread, so this process cannot be forked")


def serve(orders: socket.socket) -> list[int]:
    """To the end of this process, which comes when nobody is left who could order; returns in each that was forked,
    with the descriptors that were sent for it.
    """
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, 1, MOST_DESCRIPTORS)
        if not order:
            sys.exit()
        if fork_sibling() == 0:
            orders.close()
            return descriptors
        for descriptor in descriptors:
            os.close(descriptor)


def take_order(channel: socket.socket) -> dict[str, Any]:
    """Says which process this is, and hears what it is to become. Ends here when nobody wants it any more."""
    try:
        with channel, channel.makefile("rb") as answer:
            channel.sendall(str(os.getpid()).encode())
            told = answer.read()
    except OSError:
        told = b""
    if not told:
        os._exit(0)
    return dict(json.loads(told))


def become(order: dict[str, Any], log: int, sockets: list[int]) -> None:
    """Runs `python -m` with `order["arguments"]` to its end, with that environment and those descriptors alone."""
    for stream in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(log, stream)
    os.close(log)
    os.environ.clear()
    os.environ.update(order["env"])
    launcher.place_descriptors(sockets, [])
    launcher.give_way(order.get("niceness", 0))  # an older supervisor may not say
    launcher.die_with_parent(order["death_signal"], order["parent"])
    show_as([sys.executable, "-m", *order["arguments"]])
    module, *sys.argv[1:] = order["arguments"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def show_as(arguments: Sequence[str]) -> None:
    """To `ps`, as far as there is room: the kernel reads from where the arguments of this process lay at its start, up
    to the first zero when their last byte is none.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
    title = os.fsencode(" ".join(arguments))[: end - begin - 2]
    ctypes.memmove(begin, title.ljust(end - begin - 1, b"\0") + b".", end - begin)


def main() -> None:
    (orders,) = activation.listening_sockets()
    for module in sys.argv[1:]:
        importlib.import_module(module)
    settle()
    activation.announce_ready()
    channel, log, *sockets = serve(orders)
    os.setsid()
    become(take_order(socket.socket(fileno=channel)), log, sockets)


if __name__ == "__main__":
    main()

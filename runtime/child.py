"""The inside of a child process: takes its limits upon itself, loads one program, then answers calls one by one.

Started by `command("main")`, or forked from what `command("fork_children", …)` has started. A program is a module with
`start(init: bytes) -> Callable[[bytes], bytes]`.
Frames go both ways over a socket pair: four bytes of length, big-endian, then the body. The first is an `Orders`, each
further one a call. An answer begins with one byte: `ANSWER`, `LAST_ANSWER`, `FAULT` or `NO_MEMORY`.
"""

import contextlib
import ctypes
import importlib
import math
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from runtime import failpoints, forkserver

ANSWER, LAST_ANSWER, FAULT, NO_MEMORY = b"\0", b"\1", b"\2", b"\3"


_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38  # linux/prctl.h


class LastAnswer(Exception):
    """Raised by a program that must not be trusted with another call: the answer counts, the process is replaced."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("last answer")
        self.answer = answer


class Orders(msgspec.Struct, frozen=True):
    """`memory_limit` is bytes of address space, `cpu_seconds` counts per call; `parent` is the pid to die with.
    `failpoints` is the folder in which the parent's failpoints are armed, which are this process's too.
    """

    program: str
    init: bytes
    parent: int
    memory_limit: int
    cpu_seconds: float
    file_limit: int
    niceness: int
    failpoints: str = ""


class Confinement(msgspec.Struct, frozen=True):
    """What of the confinement applies on this machine; the rest its kernel does not offer or does not allow."""

    no_network: bool = False
    dies_with_parent: bool = False
    memory_limit: bool = False
    cpu_limit: bool = False


def command(entry: str, *arguments: str) -> tuple[str, ...]:
    """Of an interpreter that finds nothing but what is installed, and us."""
    start = f"import sys; sys.path.insert(0, sys.argv[1]); from runtime.child import {entry}; {entry}()"
    return (sys.executable, "-I", "-c", start, str(Path(__file__).resolve().parents[1]), *arguments)


def read_frame(stream: BinaryIO) -> bytes | None:
    """None at the end of the stream: the parent has closed it or is gone."""
    header = stream.read(4)
    if len(header) < 4:
        return None
    size = int.from_bytes(header, "big")
    body = stream.read(size)
    return body if len(body) == size else None


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def confine(orders: Orders) -> Confinement:
    """Before any thread is started: a process with threads may not enter a user namespace."""
    os.setpriority(os.PRIO_PROCESS, 0, max(orders.niceness, os.getpriority(os.PRIO_PROCESS, 0)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return Confinement(
        no_network=_leave_network(),
        dies_with_parent=_die_with(orders.parent),
        memory_limit=_limit(resource.RLIMIT_AS, orders.memory_limit),
        cpu_limit=_limit(resource.RLIMIT_FSIZE, orders.file_limit) and _allow_cpu(orders.cpu_seconds),
    )


def _limit(what: int, most: int) -> bool:
    try:
        resource.setrlimit(what, (most, most))
    except (OSError, ValueError):
        return False
    return True


def _allow_cpu(seconds: float) -> bool:
    """Moves the soft limit ahead of what is used already; going over it ends the process with SIGXCPU."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + seconds)
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    except (OSError, ValueError):
        return False
    return True


def _die_with(parent: int) -> bool:
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    done = bool(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0)
    if os.getppid() != parent:  # it died before the signal was asked for
        os._exit(1)
    return done


def _leave_network() -> bool:
    """A network namespace of its own has no interface but a loopback that is down."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWNET) == 0:
        return True
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    # files can only be made by a user whom the new namespace knows
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def _answer(handle: Callable[[bytes], bytes], call: bytes) -> bytes:
    try:
        failpoints.hit("child.before_call")
        answer = handle(call)
        failpoints.hit("child.before_answer")
        return ANSWER + answer
    except LastAnswer as last:
        return LAST_ANSWER + last.answer
    except MemoryError:
        return NO_MEMORY
    except Exception:  # noqa: BLE001  (whatever a program raises is reported to the parent, which replaces this process)
        return FAULT + traceback.format_exc().encode()


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Takes the socket off the standard streams, so that a library that prints cannot break the framing."""
    calls, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return os.fdopen(calls, "rb"), os.fdopen(answers, "wb", buffering=0)


def fork_children() -> None:
    """Imports a program and becomes each child that is ordered (`offspring.py`); takes its parent's pid."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = socket.socket(fileno=os.dup(0))
    _, _, program, parent = sys.argv
    _die_with(int(parent))
    importlib.import_module(program)
    forkserver.settle()
    orders.send(b"\0")
    channel, errors, calls = forkserver.serve(orders)
    os.chdir(forkserver.take_order(socket.socket(fileno=channel))["folder"])
    for descriptor, stream in ((calls, 0), (calls, 1), (errors, 2)):
        os.dup2(descriptor, stream)
    os.close(calls)
    os.close(errors)
    main()


def main() -> None:
    calls, answers = _own_streams()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    first = read_frame(calls)
    if first is None:
        return
    orders = msgspec.msgpack.decode(first, type=Orders)
    confinement = confine(orders)
    failpoints.watch(orders.failpoints)
    handle: Callable[[bytes], bytes] = importlib.import_module(orders.program).start(orders.init)
    answers.write(frame(ANSWER + msgspec.msgpack.encode(confinement)))
    while (call := read_frame(calls)) is not None:
        _allow_cpu(orders.cpu_seconds)
        answers.write(frame(_answer(handle, call)))

"""A program for children: a call is a Python expression over what is defined here, the answer its value as text."""

import ctypes
import os
import resource
import signal
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

from runtime import child


def start(init: bytes) -> Callable[[bytes], bytes]:
    if init == b"broken":
        raise RuntimeError("this program never starts")
    names = globals() | {"init": init}
    return lambda call: call if call.startswith(b"\0") else str(eval(call, names)).encode()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def abort_as_rust_does() -> None:
    os.write(2, b"memory allocation of 123456 bytes failed\n")
    os.abort()


def segfault() -> None:
    ctypes.string_at(0)


def freeze() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def stop_in_the_middle_of_an_answer() -> None:
    _write(b"\0\0\0\7" + child.ANSWER)
    time.sleep(60)


def announce_four_gigabytes() -> None:
    _write(b"\xff\xff\xff\xff" + child.ANSWER)
    time.sleep(60)


def _write(data: bytes) -> None:
    """To the parent, past the framing."""
    pipe = next(each for each in range(3, 100) if stat.S_ISSOCK(os.fstat(each).st_mode))
    os.write(pipe, data)


def spin() -> None:
    while True:
        pass


def hold(size: int) -> int:
    return len(bytearray(size))


def refuse_for_good() -> None:
    raise child.LastAnswer(b"the last")


def network(port: int) -> str:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError as error:
        return type(error).__name__
    return "reached"


def noise() -> str:
    print("printed by a library")
    ctypes.CDLL(None).puts(b"printed in C")
    return "quiet"


def limits() -> dict[str, int]:
    return {"memory": resource.getrlimit(resource.RLIMIT_AS)[0], "core": resource.getrlimit(resource.RLIMIT_CORE)[0]}


__all__ = ["Path", "time"]

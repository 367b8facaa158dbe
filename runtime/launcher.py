"""The first moment of every child process: ties it to its parent's life, then becomes the program it is for.

Run by path, `python -I -S launcher.py '{"parent": 4711, …}' program argument…`, as a process of its own, because none
of this may be done between the fork and the exec of a parent that has threads. Standard library only; the process
keeps its id throughout. What `activation.py` reads on the other side is prepared here.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import pwd
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1  # prctl(2)
CLONE_NEWUSER = 0x10000000  # unshare(2)
FIRST_SOCKET = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)
AUTOGROUP = Path("/proc/self/autogroup")  # sched(7)
AUTOGROUP_SECONDS = 1.5  # for so long others may be in the way


def die_with_parent(death_signal: int, parent: int) -> None:
    """Has the kernel send `death_signal` when the parent's thread that forked us ends, even by SIGKILL.

    Linux only, elsewhere nothing happens. A change of user or group forgets it, so it comes after those.
    """
    if not sys.platform.startswith("linux"):
        return
    _checked(ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0))
    if os.getppid() != parent:  # it died before the call above
        os.kill(os.getpid(), signal.SIGKILL)


def give_way(niceness: int) -> None:
    """To processes of less niceness that want the processor too.

    Where the kernel deals the processor out to sessions first (sched(7), "The autogroup feature"), a niceness counts
    among those of one session alone, and the session needs one as well, if it is this process's own.
    """
    if niceness <= 0:
        return
    os.setpriority(os.PRIO_PROCESS, 0, max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))
    if os.getsid(0) != os.getpid():
        return
    with contextlib.suppress(OSError):  # there are none, or not here
        _have_session_give_way(niceness)


def _have_session_give_way(niceness: int) -> None:
    """For whoever is not root the kernel changes one session in a tenth of a second, of the whole machine, and tells
    all others to try again.
    """
    until = time.monotonic() + AUTOGROUP_SECONDS
    while True:
        try:
            AUTOGROUP.write_text(str(niceness))
        except BlockingIOError:
            if time.monotonic() > until:
                sys.stderr.write("this session gives way to no other: too many were changing theirs\n")
                return
            time.sleep(0.02 + os.getpid() % 8 * 0.01)  # not all at once again
        else:
            return


def take_identity(identity: str) -> None:
    """`namespace`: the same user, who is called `nobody` from here on; `nobody`: that user; `same`: no change."""
    nobody = pwd.getpwnam("nobody") if identity != "same" else None
    if nobody and identity == "namespace":
        user, group = os.geteuid(), os.getegid()
        _checked(ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER))
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{nobody.pw_uid} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{nobody.pw_gid} {group} 1")
    elif nobody:
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)


def place_descriptors(sockets: list[int], kept: list[int]) -> None:
    """Moves listening sockets to 3, 4, … as sd_listen_fds(3) has it, and all others out of their way."""
    above = FIRST_SOCKET + len(sockets)
    copies = {descriptor: fcntl.fcntl(descriptor, fcntl.F_DUPFD, above) for descriptor in (*sockets, *kept)}
    for descriptor in copies:
        os.close(descriptor)
    for place, descriptor in enumerate(sockets, FIRST_SOCKET):
        os.dup2(copies[descriptor], place)
        os.close(copies[descriptor])
    if sockets:
        os.environ.update(LISTEN_FDS=str(len(sockets)), LISTEN_PID=str(os.getpid()))


def main() -> None:
    order, program = json.loads(sys.argv[1]), sys.argv[2:]
    try:
        place_descriptors(order["sockets"], order["kept"])
        give_way(order.get("niceness", 0))  # an older supervisor may not say
        take_identity(order["identity"])
        die_with_parent(order["death_signal"], order["parent"])
        for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored_by_python, signal.SIG_DFL)
        os.execvp(program[0], program)  # noqa: S606 -- becoming the program is the purpose; no shell is wanted
    except (OSError, KeyError) as error:
        sys.exit(f"cannot start {program[0]}: {error}")


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()

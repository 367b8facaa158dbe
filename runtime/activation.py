"""What a process takes from, and says to, whoever started it: systemd's protocols, which `processes.py` speaks too."""

import os
import socket

from runtime import launcher


def listening_sockets() -> list[socket.socket]:
    """Sockets handed over already bound and listening (sd_listen_fds(3)); none when started by hand.

    To be called once: the second list would own the same descriptors.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    sockets = [socket.socket(fileno=launcher.FIRST_SOCKET + place) for place in range(count)]
    for each in sockets:
        each.set_inheritable(False)
    return sockets


def announce_ready() -> None:
    """Says that this process can do its work (sd_notify(3)); nothing happens when nobody asked to be told."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"READY=1", address.replace("@", "\0", 1) if address.startswith("@") else address)

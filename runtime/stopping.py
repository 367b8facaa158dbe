"""Waiting to be told to stop, in a process whose main thread runs no event loop."""

import signal
import socket
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_BY_HAND: Final = 0


class StopSignal:
    """SIGTERM and SIGINT from the moment this is made, or `set` from any thread. For the main thread.

    A handler that sets a `threading.Event` has two gaps: one that runs while the main thread is inside the event's own
    lock never returns, and a signal just before that thread goes to sleep does not wake it. What `signal.set_wakeup_fd`
    has written is there to be read whenever the signal came.
    """

    def __init__(self) -> None:
        self._told, self._tells = socket.socketpair()
        self._tells.setblocking(False)
        signal.set_wakeup_fd(self._tells.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)

    def set(self) -> None:
        self._tells.send(bytes([_BY_HAND]))

    def wait(self) -> None:
        while not {_BY_HAND, *SIGNALS}.intersection(self._told.recv(64)):
            pass  # another signal that has a handler

"""Ends this process when it does not work any more, so that whoever started it starts it anew.

A thread that runs no work of ours looks once a second whether the event loops turn. One that stands still for too
long ends the process at once, with its stack in the log: a process that hangs can clean nothing up, and leases and
locks give its work back. A part that has died, or too much memory, is a reason to stop in order. Time is counted in
looks, not by a clock: a process that was frozen for a while is not blamed for it.

A C extension that does not let go of the interpreter stops this thread too; `faulthandler` waits for that in one that
needs no interpreter. It goes by the clock: a process that was frozen for longer than the last resort may be ended as it
wakes, and is started anew.
"""

import asyncio
import contextlib
import faulthandler
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from runtime.endings import Ending
from runtime.settings import Settings
from runtime.telemetry import logs, metrics

log = logs.logger(__name__)

LOOK_SECONDS: Final = 1.0
_SAYING_SECONDS: Final = 1.0
STALLS = metrics.counter("atelier_event_loop_stalls_total", "Times that an event loop stood still for long.", ["loop"])

Ailment = Callable[[], str | None]
"""What is wrong with a part of this process, for good, or None."""


class _Watched:
    """A loop, and for how many looks it has not turned."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.looks_still = 0
        self._loop = loop
        self._turned = True
        self._thread: int | None = None
        loop.call_soon_threadsafe(self._turn)

    def look(self) -> None:
        self.looks_still = 0 if self._turned else self.looks_still + 1
        if self._turned:
            self._turned = False
            with contextlib.suppress(RuntimeError):  # it is closed, and will not turn any more
                self._loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        self._turned = True
        self._thread = threading.get_ident()

    def stack(self) -> list[str]:
        """Where it stands, the innermost line last."""
        frame = sys._current_frames().get(self._thread or 0)  # noqa: SLF001 - its documented name
        return (
            [] if frame is None else [f"{at.filename}:{at.lineno} {at.name}" for at in traceback.extract_stack(frame)]
        )


class Watchdog(threading.Thread):
    """`stop` is called from this thread, once, to have the process end in order; `ending` is its exit status then.
    `last_resort`: after so many seconds without the interpreter, by the clock, the process is ended with status 1.
    """

    def __init__(self, settings: Settings, stop: Callable[[], object]) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.ending = Ending.ASKED
        self.last_resort = 2 * settings.hang_seconds
        self._patience = settings.hang_seconds
        self._memory_limit = settings.memory_limit
        self._drain = 2 * settings.shutdown_timeout + 5
        self._stop = stop
        self._loops: list[_Watched] = []
        self._ailments: list[Ailment] = []
        self._looks_left: int | None = None

    def watch(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loops.append(_Watched(name, loop))

    def watch_for(self, ailment: Ailment) -> None:
        self._ailments.append(ailment)

    def expect_end(self) -> None:
        """To be called when the process begins to stop: one that does not come to its end hangs too."""
        self._looks_left = round(self._drain / LOOK_SECONDS)

    def run(self) -> None:
        while True:
            if self._patience:
                faulthandler.dump_traceback_later(self.last_resort, exit=True)
            time.sleep(LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        if self._looks_left is not None:
            self._looks_left -= 1
            if self._looks_left <= 0:
                self._end_at_once("this process did not come to its end", _all_stacks())
            return
        for loop in self._loops if self._patience else ():
            self._look_at(loop)
        if ailment := next(filter(None, (look() for look in self._ailments)), None):
            self._end_in_order(Ending.BROKEN, "a part of this process has died", part=ailment)
        elif self._memory_limit and (resident := resident_bytes()) > self._memory_limit:
            self._end_in_order(
                Ending.GROWN, "this process has grown too large", bytes=resident, limit=self._memory_limit
            )

    def _look_at(self, loop: _Watched) -> None:
        loop.look()
        seconds = loop.looks_still * LOOK_SECONDS
        if loop.looks_still == max(1, round(self._patience / 3 / LOOK_SECONDS)):
            STALLS.labels(loop.name).inc()
            _say(log.warning, "an event loop stands still", loop=loop.name, stack=loop.stack())
        if seconds >= self._patience:
            self._end_at_once(f"the event loop {loop.name} has stood still for {seconds:g} s", loop.stack())

    def _end_in_order(self, ending: Ending, why: str, **fields: object) -> None:
        _say(log.error, why, **fields)
        self.ending = ending
        self.expect_end()
        self._stop()

    def _end_at_once(self, why: str, stack: list[str]) -> None:
        _say(log.critical, "this process hangs and is ended", why=why, stack=stack)
        os._exit(Ending.HUNG)


def on_this_loop(name: str, settings: Settings, stop: Callable[[], object]) -> Watchdog:
    """Of a process whose main thread runs one loop: it stops at SIGTERM, at SIGINT, and when the watchdog says so."""
    loop = asyncio.get_running_loop()

    def begin_to_stop() -> None:
        made.expect_end()
        stop()

    made = Watchdog(settings, lambda: loop.call_soon_threadsafe(begin_to_stop))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, begin_to_stop)
    made.watch(name, loop)
    made.start()
    return made


def resident_bytes() -> int:
    """Of this process alone, without its children. Where there is no /proc: the most it ever was."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _say(write: Callable[..., object], line: str, **fields: object) -> None:
    """Without waiting for whoever should read it: a log that nobody takes away may be what all the others hang on."""
    writer = threading.Thread(target=write, args=(line,), kwargs=fields, daemon=True)
    writer.start()
    writer.join(_SAYING_SECONDS)


def _all_stacks() -> list[str]:
    """The innermost line of each thread's."""
    frames = sys._current_frames()  # noqa: SLF001 - its documented name
    return [
        f"{thread.name}: {at.filename}:{at.lineno} {at.name}"
        for thread in threading.enumerate()
        if thread.ident in frames
        for at in traceback.extract_stack(frames[thread.ident])[-1:]
    ]

"""A process with a watchdog, for its tests: `python -m … <behaviour>` does one thing wrong."""

import asyncio
import ctypes
import os
import signal
import sys
import threading
import time

from runtime.settings import Settings
from runtime.telemetry import logs
from runtime.watchdog import Watchdog, on_this_loop

FOR_EVER = 3600
SETTINGS = Settings(hang_seconds=3, memory_limit=256 << 20, shutdown_timeout=0.1)
held: list[bytes] = []


def block() -> None:
    time.sleep(FOR_EVER)


def keep_the_interpreter() -> None:
    ctypes.PyDLL(None).sleep(FOR_EVER)


def block_in_a_log_that_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    while True:
        logs.logger(__name__).error("on and on", reading=reading)


async def grow() -> None:
    for _ in range(300):
        held.append(b"x" * (1 << 20))
        await asyncio.sleep(0)


def lose_a_part(watchdog: Watchdog) -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    watchdog.watch_for(lambda: None if thread.is_alive() else "a thread has died")


async def two_looks(watchdog: Watchdog) -> None:
    """Between any two of them the last resort is set anew."""
    looks: list[None] = []
    watchdog.watch_for(lambda: looks.append(None))
    while len(looks) < 2:
        await asyncio.sleep(0.05)


WRONGS = {each.__name__: each for each in (block, keep_the_interpreter, block_in_a_log_that_nobody_reads)}


async def main(behaviour: str) -> int:
    stopping = asyncio.Event()
    watchdog = on_this_loop("test", SETTINGS, stopping.set)
    await asyncio.sleep(0.05)  # it has turned
    if behaviour != "keep_the_interpreter":
        watchdog.last_resort = FOR_EVER
        await two_looks(watchdog)  # until that holds
    print("turning", flush=True)
    if behaviour == "lose_a_part":
        lose_a_part(watchdog)
    elif behaviour == "grow":
        await grow()
    elif behaviour in WRONGS:
        WRONGS[behaviour]()
    elif behaviour == "never_end":
        signal.raise_signal(signal.SIGTERM)
    await stopping.wait()
    if behaviour == "never_end":
        await asyncio.sleep(FOR_EVER)
    return watchdog.ending


logs.configure(SETTINGS, "test")
sys.exit(asyncio.run(main(sys.argv[1])))

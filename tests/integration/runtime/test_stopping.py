"""A process that waits to be told to stop hears it at whatever moment it is said; in a process of its own, since it is
about its main thread and its signals.
"""

import subprocess
import sys

import pytest

PREPARED = """
import signal, threading
from runtime.stopping import StopSignal

stopping = StopSignal()
"""

IN_TIME = "signal.raise_signal(signal.SIGTERM)\nstopping.wait()"
WHILE_ASLEEP = "threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()\nstopping.wait()"
BY_A_THREAD = "threading.Timer(0.2, stopping.set).start()\nstopping.wait()"
OTHERS_FIRST = """
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.raise_signal(signal.SIGUSR1)
said = []
threading.Timer(0.2, lambda: (said.append("now"), signal.raise_signal(signal.SIGTERM))).start()
stopping.wait()
assert said
"""


@pytest.mark.parametrize("told", [IN_TIME, WHILE_ASLEEP, BY_A_THREAD, OTHERS_FIRST])
def test_a_process_that_is_told_to_stop_before_or_while_it_waits_goes_on(told: str) -> None:
    assert ends(told) == 0


def ends(code: str) -> int:
    return subprocess.run([sys.executable, "-c", PREPARED + code], timeout=30, check=False).returncode

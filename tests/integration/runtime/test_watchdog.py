"""What a process with a watchdog does when something in it goes wrong; each of them a real one."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from runtime.endings import Ending

PATIENCE = 60
WRONG = ("block", "keep_the_interpreter", "block_in_a_log_that_nobody_reads", "grow", "lose_a_part", "never_end")

Ends = dict[str, tuple[int, str]]
"""Exit status, and what was said."""


def watched(behaviour: str) -> subprocess.Popen[str]:
    command = (sys.executable, "-m", "tests.integration.runtime.watched_process", behaviour)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def ends() -> Ends:
    """All at once: each takes some seconds to be found out."""
    processes = {behaviour: watched(behaviour) for behaviour in WRONG}
    try:
        said = {behaviour: process.communicate(timeout=PATIENCE)[1] for behaviour, process in processes.items()}
        return {behaviour: (process.returncode, said[behaviour]) for behaviour, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


@pytest.fixture
def working() -> Iterator[subprocess.Popen[str]]:
    process = watched("work")
    yield process
    process.kill()
    process.communicate()


def test_a_loop_that_is_blocked_ends_the_process_and_its_stack_is_in_the_log(ends: Ends) -> None:
    status, said = ends["block"]
    assert status == Ending.HUNG
    assert "the event loop test has stood still for 3 s" in said
    assert said.count("an event loop stands still") == 1, "it is said before the end, too"
    assert "watched_process.py:" in said
    assert " block" in said


def test_code_that_keeps_the_interpreter_to_itself_ends_the_process_too(ends: Ends) -> None:
    status, said = ends["keep_the_interpreter"]
    assert status == 1
    assert "in keep_the_interpreter" in said


def test_a_log_that_nobody_takes_away_does_not_keep_a_process_from_ending(ends: Ends) -> None:
    assert ends["block_in_a_log_that_nobody_reads"][0] == Ending.HUNG


@pytest.mark.parametrize(
    ("behaviour", "ending", "told"),
    [
        ("grow", Ending.GROWN, "this process has grown too large"),
        ("lose_a_part", Ending.BROKEN, "a thread has died"),
    ],
)
def test_a_process_that_has_grown_or_lost_a_part_stops_in_order(
    ends: Ends, behaviour: str, ending: Ending, told: str
) -> None:
    status, said = ends[behaviour]
    assert status == ending
    assert told in said.splitlines()[-1]


def test_a_process_that_does_not_come_to_its_end_is_ended(ends: Ends) -> None:
    status, said = ends["never_end"]
    assert status == Ending.HUNG
    assert "did not come to its end" in said
    assert "MainThread: " in said


def test_one_that_was_frozen_is_not_blamed_for_it(working: subprocess.Popen[str]) -> None:
    assert working.stdout is not None
    assert working.stdout.readline() == "turning\n"
    working.send_signal(signal.SIGSTOP)
    time.sleep(4)
    working.send_signal(signal.SIGCONT)
    time.sleep(1.5)
    working.send_signal(signal.SIGTERM)
    assert working.wait(PATIENCE) == Ending.ASKED

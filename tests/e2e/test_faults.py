"""A short round of the fault harness: every failpoint once, and a dozen random blows; `make faults` is the long one."""

import re
import subprocess
import sys

import pytest

from tests.architecture.source import ROOT

VERDICT = r"faults: 0 lost, 0 doubled, 0 charged twice in (\d+) generations, (\d+) kills \(seed 20\)"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_whatever_is_killed_nothing_is_lost_doubled_or_charged_twice() -> None:
    command = (sys.executable, "-m", "bench.faults", "--short", "--seed", "20")
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    verdict = re.fullmatch(VERDICT, ended.stdout.splitlines()[-1] if ended.stdout else "")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert verdict is not None
    generations, kills = map(int, verdict.groups())
    assert generations > 50
    assert kills > 9

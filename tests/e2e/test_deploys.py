"""A short rollout of the next release; `python -m bench.deploys` is the long one."""

import re
import subprocess
import sys

import pytest

from tests.architecture.source import ROOT

VERDICT = r"deploys: 0 failed of (\d+) requests, (\d+) processes replaced, 0 tasks counted up, 0 lost"
STEPS = (
    "migrating, under all old processes",
    "new workers beside an old API and relay",
    "a new API: its new facts wait, for the relay is old",
    "a new relay leads: they are carried out",
    "back to old workers: tasks that only new ones know wait",
    "back to an old relay",
    "back to an old API, forward to new workers",
    "all are new",
)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_while_the_next_release_takes_the_place_of_this_one_no_request_fails_and_nothing_is_lost() -> None:
    """Each pair of old and new meets once; what only the next one knows waits for it, and is then done."""
    command = (
        sys.executable,
        "-m",
        "bench.deploys",
        "--rolls=0",
        "--requests=1",
        "--rate=10",
        "--dispatched-timeout=2",
    )
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    verdict = re.fullmatch(VERDICT, ended.stdout.splitlines()[-1] if ended.stdout else "")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert verdict is not None
    requests, replaced = map(int, verdict.groups())
    assert requests > 50
    assert replaced == 12
    assert [step for step in STEPS if step not in ended.stdout] == []

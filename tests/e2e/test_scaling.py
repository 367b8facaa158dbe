"""Workers on several hosts, of which one is cut off."""

import asyncio
import sys

import pytest

from bench.scaling.__main__ import LEFT_OUT
from tests.architecture.source import ROOT


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_host_that_is_cut_off_and_comes_back_loses_and_doubles_nothing() -> None:
    """By the audit of the fault harness; the host with the leading relay is cut off. Both make images."""
    command = [sys.executable, "-m", "bench.scaling", "--short"]
    bench = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = (part.decode() for part in await bench.communicate())
    if bench.returncode == LEFT_OUT:
        pytest.skip(errors.splitlines()[-1])
    verdicts = [line for line in output.splitlines() if "lost, doubled" in line]
    assert len(verdicts) == 1, output + errors
    assert verdicts[0].endswith("| 0 | yes |"), output + errors
    (at_work,) = (line for line in output.splitlines() if "hosts that made images" in line)
    assert at_work.endswith("| 2 | ≥ 2 | yes |"), output + errors
    assert bench.returncode == 0, output + errors

"""What the nemesis of the fault harness draws, and the harms that need this machine: a full disk, a wrong clock."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bench.faults import clocks, disk, harms
from bench.faults.disk import Disk

WRITER = """
import signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for path in sys.stdin:
    try:
        with open(path.strip(), "wb") as file:
            file.write(bytes(100_000))
        print(0, flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


def test_a_seed_draws_the_same_blows_again_each_kind_first_in_turn_and_without_what_cannot_be_done() -> None:
    drawn = harms.plan(7, 400, 1, "redis")
    assert drawn == harms.plan(7, 400, 1, "redis")
    assert [blow.name for blow in drawn] != [blow.name for blow in harms.plan(8, 400, 1, "redis")]
    assert {blow.name for blow in drawn[: len(harms.KINDS)]} == set(harms.KINDS)
    assert 350 < len(drawn) < 450
    assert not any(blow.verb == "skew" for blow in harms.plan(7, 400, 1, "redis", without=("skew",)))
    assert [blow.pause for blow in harms.plan(7, 400, 1, "rabbitmq")] == [blow.pause for blow in drawn]


def test_a_disk_of_its_own_is_full_until_it_is_cleared_and_leaves_what_was_on_it(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    with disk.mounted(folder, lambda: 0) as full:
        if "of its own" not in full.how:
            pytest.skip("only root may mount a file system")
        for name in ("before", "after"):  # at first it is empty
            full.fill()
            with pytest.raises(OSError) as raised:
                (folder / "meanwhile").write_bytes(bytes(100_000))
            assert raised.value.errno == errno.ENOSPC
            full.clear()
            (folder / name).write_bytes(bytes(100_000))
    assert not os.path.ismount(folder)
    assert {path.name: path.stat().st_size for path in folder.iterdir()}["after"] == 100_000
    assert (folder / "before").exists()


def test_without_a_disk_of_its_own_a_worker_is_kept_from_writing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        full = Disk(tmp_path, lambda: writer.pid, mounted=False)
        found = []
        for number, change in enumerate((lambda: None, full.fill, full.clear)):
            change()
            writer.stdin.write(f"{tmp_path / str(number)}\n")
            found.append(int(writer.stdout.readline()))
        assert found == [0, errno.EFBIG, 0]
        assert psutil.Process(writer.pid).rlimit(psutil.RLIMIT_FSIZE)[0] == psutil.RLIM_INFINITY
        writer.stdin.close()


@pytest.mark.parametrize("skew", [clocks.SKEW, -clocks.SKEW])
def test_a_process_can_be_given_a_wrong_clock_that_measures_right(skew: int) -> None:
    if (library := clocks.library()) is None:
        pytest.skip("no libfaketime for this system")
    program = "import time; a = time.monotonic(); time.sleep(0.1); print(time.time(), time.monotonic() - a)"
    right = subprocess.run([sys.executable, "-c", "import time; print(time.time())"], capture_output=True, check=True)
    wrong = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | clocks.environment(library, skew),
        capture_output=True,
        check=True,
    )
    now, slept = map(float, wrong.stdout.split())
    assert abs(now - float(right.stdout) - skew) < 30
    assert 0.1 <= slept < 30

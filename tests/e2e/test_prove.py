"""`atelier prove`, as a newcomer runs it, only smaller."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_image_is_there_once_although_workers_were_killed_and_redis_was_wiped() -> None:
    command = [sys.executable, "-m", "cli.main", "prove", "--images", "30"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed both workers" in done.stderr
    assert "wiped Redis" in done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last == "30 images, 30 charges, 30 verified webhooks, 0 lost, 0 doubled"

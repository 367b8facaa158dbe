"""`atelier prove`, as a newcomer runs it, only smaller."""

import os
import subprocess
import sys
from pathlib import Path

import redis

from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[2]


def test_what_it_wipes_is_its_own_whatever_the_settings_name(tmp_path: Path) -> None:
    theirs = RedisServer(tmp_path)
    theirs.start()
    try:
        with redis.Redis.from_url(theirs.url) as client:
            client.set("precious", "data")
            environment = os.environ | {"ATELIER_REDIS_URL": theirs.url, "ATELIER_SMTP_URL": "smtp://127.0.0.1:9"}
            command = [sys.executable, "-m", "cli.main", "prove", "--images", "6"]
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False, env=environment
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert client.get("precious") == b"data"
    finally:
        theirs.kill()


def test_every_image_is_there_once_although_workers_were_killed_and_redis_was_wiped() -> None:
    command = [sys.executable, "-m", "cli.main", "prove", "--images", "30"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed both workers" in done.stderr
    assert "wiped Redis" in done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last == "30 images, 30 charges, 30 verified webhooks, 0 lost"

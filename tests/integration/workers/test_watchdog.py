"""Processes that hang, lose a part or grow: each ends by itself, says why, and its work is done by another."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import installation
from queue_config.broker import build_broker
from runtime.endings import Ending
from tests.integration.workers.conftest import Spine
from tests.integration.workers.relays import Recording, running, until

ROOT = Path(__file__).parents[3]
PATIENCE = 90
FOR_EVER = "sleep:3600000"
NUMBERS = "select state, attempts, deaths from tasks where actor = 'generations.render'"


@contextlib.contextmanager
def process_of(spine: Spine, folder: Path, *arguments: str, **given: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours beside the test, of the same installation."""
    own = {f"ATELIER_{name.upper()}": value for name, value in {"image_workers": "1", **given}.items()}
    environment = os.environ | installation.to_environment(spine.settings) | own | {"PYTHONPATH": str(ROOT)}
    with (folder / "process.log").open("wb") as log:
        process = subprocess.Popen((sys.executable, *arguments), env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def until_ended(process: subprocess.Popen[bytes]) -> None:
    async def ended() -> bool:
        return process.poll() is not None

    await until(ended, seconds=PATIENCE)


async def test_a_relay_whose_loop_is_blocked_ends_and_a_standby_does_its_work(spine: Spine, tmp_path: Path) -> None:
    blocked = {"failpoints": f"relay.after_commit={FOR_EVER}", "hang_seconds": "3"}
    with process_of(spine, tmp_path, "-m", "cli.main", "relay", **blocked) as process:
        await spine.accept()
        await until_ended(process)
    assert process.returncode == Ending.HUNG
    assert "the event loop relay has stood still for 3 s" in (tmp_path / "process.log").read_text()
    broker = Recording()
    async with running(spine, broker):
        await until(lambda: _true(bool(broker.sent)), seconds=PATIENCE)


async def test_a_worker_whose_loop_is_blocked_ends_and_its_task_is_done_by_another(
    spine: Spine, tmp_path: Path
) -> None:
    blocked = {"failpoints": f"worker.after_claim={FOR_EVER}", "hang_seconds": "3"}
    worker = ("-m", "cli.main", "worker", "--group", "images")
    generation = await spine.accept()
    async with running(spine, build_broker(spine.settings)):
        with process_of(spine, tmp_path, *worker, **blocked) as process:
            await until_ended(process)
        assert process.returncode == Ending.HUNG
        assert "the event loop actors has stood still for 3 s" in (tmp_path / "process.log").read_text()
        with process_of(spine, tmp_path, *worker):
            await until(lambda: _has_succeeded(spine, generation), seconds=PATIENCE)
    assert [tuple(row) for row in await spine.rows(NUMBERS)] == [("done", 0, 1)]


@pytest.mark.parametrize(
    ("sickness", "ending"), [("grow", Ending.GROWN), ("lose_a_consumer", Ending.BROKEN)], ids=lambda value: str(value)
)
async def test_a_worker_that_has_grown_or_lost_a_thread_ends_in_order_and_no_count_is_raised(
    spine: Spine, tmp_path: Path, sickness: str, ending: Ending
) -> None:
    generation = await spine.accept()
    sick = ("-m", "tests.integration.workers.sick_worker", sickness)
    async with running(spine, build_broker(spine.settings)):
        with process_of(spine, tmp_path, *sick, memory_limit=str(256 << 20)) as process:
            await until_ended(process)
        assert process.returncode == ending
        with process_of(spine, tmp_path, "-m", "cli.main", "worker", "--group", "images"):
            await until(lambda: _has_succeeded(spine, generation), seconds=PATIENCE)
    assert [tuple(row) for row in await spine.rows(NUMBERS)] == [("done", 0, 0)]


async def _has_succeeded(spine: Spine, generation: str) -> bool:
    return await spine.status(generation) == "succeeded"


async def _true(value: bool) -> bool:
    return value

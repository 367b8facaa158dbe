import os
import signal
import subprocess
import sys
import time

import pytest

from runtime import failpoints

NAME = "worker.after_claim"


@pytest.fixture(autouse=True)
def _no_plan_is_left_behind():
    yield
    failpoints.configure("")


def test_a_point_that_nobody_named_does_nothing():
    failpoints.configure("")
    failpoints.hit(NAME)
    failpoints.configure("relay.after_commit=raise")
    failpoints.hit(NAME)


def test_a_point_acts_on_its_nth_hit_and_once():
    failpoints.configure(f"{NAME}=raise@2")
    failpoints.hit(NAME)
    with pytest.raises(failpoints.FailpointError, match=NAME):
        failpoints.hit(NAME)
    failpoints.hit(NAME)


def test_a_point_can_fail_each_time():
    failpoints.configure(f"{NAME}=always-raise")
    for _ in range(3):
        with pytest.raises(failpoints.FailpointError):
            failpoints.hit(NAME)


def test_a_point_can_delay():
    failpoints.configure(f"{NAME}=sleep:30")
    started = time.monotonic()
    failpoints.hit(NAME)
    assert time.monotonic() - started >= 0.03


def test_several_points_are_planned_at_once_and_replaced_together():
    failpoints.configure(f"{NAME}=raise, webhook.after_2xx=raise")
    for name in (NAME, "webhook.after_2xx"):
        with pytest.raises(failpoints.FailpointError):
            failpoints.hit(name)
    failpoints.configure("webhook.after_2xx=raise")
    failpoints.hit(NAME)


@pytest.mark.parametrize(
    ("spec", "said"),
    [("worker.after_lunch=kill", "no failpoint is called 'worker.after_lunch'"), (f"{NAME}=explode", "'explode'")],
)
def test_a_plan_for_a_place_or_an_action_that_no_code_has_is_refused(spec, said):
    with pytest.raises(failpoints.FailpointSpecError, match=said):
        failpoints.configure(spec)


def test_kill_ends_the_process_at_once():
    program = (
        "from runtime import failpoints\n"
        f"failpoints.configure('{NAME}=kill@3')\n"
        f"for _ in range(5): failpoints.hit('{NAME}'); print('alive', flush=True)\n"
    )
    died = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL
    assert died.stdout.split() == ["alive", "alive"]


def test_stop_freezes_the_process_until_it_is_told_to_go_on():
    program = f"from runtime import failpoints\nfailpoints.configure('{NAME}=stop')\nfailpoints.hit('{NAME}')\n"
    with subprocess.Popen([sys.executable, "-c", program]) as frozen:
        _, status = os.waitpid(frozen.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        frozen.send_signal(signal.SIGCONT)
        assert frozen.wait(timeout=30) == 0


def test_a_point_is_armed_while_the_process_runs_and_acts_once(tmp_path):
    folder = tmp_path / "relay"
    folder.mkdir()
    failpoints.configure("", tmp_path, "relay")
    failpoints.hit(NAME)
    (folder / NAME).write_text("raise")
    failpoints.hit("relay.after_commit")
    with pytest.raises(failpoints.FailpointError, match=NAME):
        failpoints.hit(NAME)
    failpoints.hit(NAME)
    assert [path.name for path in folder.iterdir()] == [f"{NAME}@{os.getpid()}"]


def test_a_process_sees_what_is_armed_for_it_alone(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / NAME).write_text("raise")
    failpoints.configure("", tmp_path, "relay")
    failpoints.hit(NAME)
    failpoints.configure("", tmp_path, "api")
    child_of_it = failpoints.watched()
    failpoints.configure("")
    failpoints.hit(NAME)
    failpoints.watch(child_of_it)
    with pytest.raises(failpoints.FailpointError):
        failpoints.hit(NAME)

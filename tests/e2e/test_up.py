"""`atelier up`: one image from end to end, one folder for one installation, and an end that leaves nothing behind."""

import re
import signal
import stat
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

import msgspec
import psutil
import pytest

from cli import contract
from tests.conftest import quickest_place
from tests.e2e.running import Command, Up, alive, secrets_in_memory

TOKEN = "an-operator-token-of-this-test"


@dataclass
class Shown:
    """What `up --demo --once` printed, by the first word of each line, and what it left in its folder."""

    folder: Path
    status: int
    lines: dict[str, str]
    contract_left: bool

    @property
    def generation(self) -> str:
        return self.lines["accepted"].split(",")[0]


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    with tempfile.TemporaryDirectory(prefix="atelier-", dir=quickest_place()) as folder:
        once = Up(Path(folder), "--demo", "--once", outbound_allow="", webhook_insecure_http="", operator_token=TOKEN)
        try:
            status = once.wait()
        finally:
            once.kill()
        lines = dict(re.findall(r"^  (\w+) +(.+)$", once.output, re.MULTILINE))
        assert status == 0, once.output
        yield Shown(Path(folder), status, lines, contract_left=(once.data / contract.NAME).exists())


@pytest.fixture
def again(shown: Shown) -> Iterator[Up]:
    """Started once more in the same folder."""
    started = Up(shown.folder)
    try:
        started.wait_until_ready()
        yield started
    finally:
        started.kill()


def status_of(up: Up, generation: str) -> str:
    request = urllib.request.Request(f"{up.contract.base_url}/v1/generations/{generation}")
    request.add_header("Authorization", f"Bearer {up.contract.api_key}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(msgspec.json.decode(answer.read())["status"])


def test_requests_go_before_what_moves_tasks_and_that_before_what_draws(again: Up) -> None:
    own = psutil.Process().nice()
    niceness = {name: psutil.Process(pid).nice() for name, pid in again.contract.pids.items()}
    behind = {"relay", "worker-images", "worker-io"}
    assert niceness == {name: max(5, own) if name in behind else own for name in niceness}
    assert {child.nice() for child in again.renderers()} == {max(10, own)}


def test_one_image_is_shown_from_the_request_to_the_mail(shown: Shown) -> None:
    assert list(shown.lines) == ["request", "accepted", "image", "charge", "webhook", "mail", "trail"]
    image = Path(shown.lines["image"].split(" (")[0])
    assert image.read_bytes().startswith(b"\x89PNG")
    assert re.match(r"1 credit; 99,999 left", shown.lines["charge"])
    assert "generation.succeeded, its signature verified" in shown.lines["webhook"]
    mail = message_from_bytes(Path(shown.lines["mail"].split(", ")[0]).read_bytes())
    assert mail["to"] == "demo@atelier.example"
    assert re.match(rf"http://127.0.0.1:\d+/trail/{shown.generation} \(.*operator_token", shown.lines["trail"])
    assert TOKEN not in "".join(shown.lines.values()), "what is printed may be kept in a log"
    assert not shown.contract_left


def test_the_next_start_finds_its_data_and_ends_at_once_when_it_is_told(shown: Shown, again: Up) -> None:
    assert status_of(again, shown.generation) == "succeeded"
    assert stat.S_IMODE((again.data / contract.NAME).stat().st_mode) == 0o600
    again.process.send_signal(signal.SIGHUP)  # a roll is under way, and is given up
    assert status_of(again, shown.generation) == "succeeded"
    family = again.family()
    assert set(again.contract.pids.values()) <= {process.pid for process in family}
    assert again.stop() == 0, again.output
    assert alive(family) == []
    assert not (again.data / contract.NAME).exists()
    assert "exception" not in again.log("up")


def test_each_process_holds_the_secrets_that_it_uses_and_no_others(up: Up) -> None:
    pids = {name: up.contract.pids[name] for name in ("api", "relay", "worker-images", "worker-io")}
    pids["forkserver"] = up.forkserver().pid
    held = {name: secrets_in_memory(pid) for name, pid in pids.items()}
    workers = {"worker-images", "worker-io"}
    for secret, names in {
        "DATABASE_ADMIN_URL": set(),
        "DATABASE_OWNER_URL": set(),
        "DATABASE_URL": workers | {"api", "relay"},
        "ENCRYPTION_KEYS": {"api", "worker-io"},
        "OPERATOR_TOKEN": {"api"},
        "SIGNING_KEYS": {"api", "worker-io"},
        "SMTP_URL": {"worker-io"},
    }.items():
        assert {name for name in held if secret in held[name]} == names, secret


def test_seed_beside_a_running_installation_shows_its_keys(up: Up) -> None:
    seed = Command(up.data.parent, "seed", data_dir=str(up.data))
    assert seed.wait() == 0, seed.output
    assert re.findall(r"atl_\w+|\S+$", seed.output, re.MULTILINE) == [up.contract.api_key, up.contract.second_api_key]


def test_a_second_start_in_the_same_folder_is_refused_in_one_line(up: Up) -> None:
    second = Up(up.data.parent)
    assert second.wait() == 2
    (line,) = second.output.splitlines()
    assert f"in use by process {up.process.pid}" in line
    assert up.contract.pids["api"], "the first one goes on"


def test_when_it_is_killed_nothing_of_it_lives_on_and_the_next_start_finds_its_data(shown: Shown, again: Up) -> None:
    family = again.family()
    again.process.send_signal(signal.SIGKILL)
    again.wait()
    _, living = psutil.wait_procs(family, timeout=20)
    assert alive(living) == []
    after = Up(shown.folder)
    try:
        after.wait_until_ready()
        assert status_of(after, shown.generation) == "succeeded"
        after.process.send_signal(signal.SIGINT)
        assert after.wait() == 0, after.output
    finally:
        after.kill()

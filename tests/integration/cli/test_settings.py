"""Commands that are started without what they need."""

import os
from pathlib import Path

import pytest

from cli import main

GIVEN = {"ATELIER_DATABASE_URL": "postgresql://atelier_app@127.0.0.1:1/atelier"}
KEYS = {
    "ATELIER_ENCRYPTION_KEYS": f"k1:{'A' * 43}=",
    "ATELIER_SIGNING_KEYS": "a-signing-key-of-tests-that-is-long-enough",
}
COMMANDS = ["api", "relay", "worker --group images", "worker --group io", "migrate", "seed", "dead-letters list"]


@pytest.fixture
def without_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No `.env`, and nothing in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ATELIER_")]:
        monkeypatch.delenv(name)


def refusal(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command says as it refuses to start."""
    assert main.main(command.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.usefixtures("without_settings")
@pytest.mark.parametrize("command", COMMANDS)
def test_without_any_settings_a_command_names_the_one_that_it_needs(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "ATELIER_DATABASE_URL is missing" in refusal(command, capsys)


@pytest.mark.usefixtures("without_settings")
@pytest.mark.parametrize(
    ("command", "given", "named"),
    [
        ("api", GIVEN, "ATELIER_ENCRYPTION_KEYS"),
        ("api", GIVEN | {"ATELIER_ENCRYPTION_KEYS": KEYS["ATELIER_ENCRYPTION_KEYS"]}, "ATELIER_SIGNING_KEYS"),
        ("worker --group io", GIVEN, "ATELIER_ENCRYPTION_KEYS"),
        ("worker --group io", GIVEN | KEYS, "ATELIER_SMTP_URL"),
    ],
)
def test_what_is_missing_is_named_one_by_one(
    command: str,
    given: dict[str, str],
    named: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert f"{named} is missing" in refusal(command, capsys)

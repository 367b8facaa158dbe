"""Processes that are started while PostgreSQL does not answer, or does not let them in."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from bench.faults.proxy import Link
from cli import installation, main, readiness
from cli.readiness import DatabaseAwayError
from runtime.settings import Settings
from tests.architecture.source import ROOT
from tests.conftest import Servers

NOBODY = "postgresql://atelier_app:canary@127.0.0.1:1/atelier"
KEYS = {
    "ATELIER_ENCRYPTION_KEYS": f"k1:{'A' * 43}=",
    "ATELIER_SIGNING_KEYS": "a-signing-key-of-tests-that-is-long-enough",
    "ATELIER_SMTP_URL": "smtp://127.0.0.1:1",
}


@pytest.fixture
def without_postgresql(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ATELIER_")]:
        monkeypatch.delenv(name)
    for name, value in (KEYS | {"ATELIER_DATABASE_URL": NOBODY, "ATELIER_DATABASE_PATIENCE": "0.3"}).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("without_postgresql")
@pytest.mark.parametrize("command", ["api", "relay", "worker --group images", "worker --group io"])
def test_a_process_waits_for_postgresql_says_so_and_gives_up_in_one_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(command.split()) == 2
    waiting, gave_up = capsys.readouterr().err.splitlines()
    assert waiting.startswith("atelier: waiting for PostgreSQL at 127.0.0.1:1/atelier (ConnectionRefusedError)")
    assert gave_up.startswith("atelier: PostgreSQL at 127.0.0.1:1/atelier did not answer")
    assert "canary" not in waiting + gave_up


@pytest.mark.usefixtures("without_postgresql")
@pytest.mark.parametrize("command", ["migrate", "dead-letters list"])
def test_a_command_that_cannot_reach_postgresql_says_so_in_one_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(command.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "atelier: a server that this needs cannot be reached: ConnectionRefusedError"


@pytest.mark.usefixtures("without_postgresql")
@pytest.mark.parametrize("command", ["api", "relay", "worker --group io", "up"])
def test_what_ends_a_running_process_is_raised_with_its_stack(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_: object) -> int:
        raise ConnectionResetError

    monkeypatch.setattr(main, "_load", lambda _: lose)
    with pytest.raises(ConnectionResetError):
        main.main(command.split())
    assert main.main(["migrate"]) == 2


async def test_a_command_whose_reader_has_read_enough_ends_quietly(settings: Settings) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli.main", "dead-letters", "list", cwd=ROOT, stdout=writer,
            stderr=asyncio.subprocess.PIPE, env=os.environ | installation.to_environment(settings),
        )  # fmt: skip
    finally:
        os.close(writer)
    _, said = await command.communicate()
    assert (command.returncode, said) == (128 + signal.SIGPIPE, b"")


async def test_a_process_begins_as_soon_as_postgresql_answers(
    link: Link, through: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    link.refuses = True
    waiting = asyncio.create_task(asyncio.to_thread(readiness.wait_for_database, through))
    said = ""
    async with asyncio.timeout(20):
        while not said:
            said = capsys.readouterr().err
            await asyncio.sleep(0.01)
    assert "waiting for PostgreSQL" in said
    assert not waiting.done()
    link.refuses = False
    async with asyncio.timeout(20):
        await waiting


def test_a_process_does_not_wait_for_a_database_that_refuses_it(settings: Settings, servers: Servers) -> None:
    elsewhere = msgspec.structs.replace(settings, database_url=servers.database_url("atelier_app", "nowhere"))
    with pytest.raises(DatabaseAwayError, match='refuses: database "nowhere" does not exist'):
        readiness.wait_for_database(elsewhere)

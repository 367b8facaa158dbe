"""The commands that prepare and check the repository itself."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

TOOLS = ("awk", "dirname", "grep", "make", "sh")


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def bare_machine(tmp_path) -> Path:
    """A PATH with a shell, make and what they need, and no Python."""
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    return tmp_path


def a_python(folder: Path, name: str, answer: int) -> None:
    """One that notes what it is asked and answers with this exit status."""
    program = folder / name
    program.write_text(f'#!/bin/sh\necho "{name} $*" >>{folder}/asked\nexit {answer}\n')
    program.chmod(0o755)


def test_help_lists_every_command_with_what_it_does():
    listed = re.findall(r"^  make (\w+) +(\S.*)$", run("make", "help").stdout, re.MULTILINE)
    assert {name for name, _ in listed} >= {"run", "test", "check", "bench", "faults", "prove", "lock", "fix", "help"}


def test_make_alone_is_help():
    assert run("make").stdout == run("make", "help").stdout


@pytest.mark.parametrize("name", [None, "python3"])
def test_without_a_python_that_fits_it_says_what_to_install(bare_machine, name):
    if name:
        a_python(bare_machine, name, 1)
    refused = run("scripts/setup", "venv", PATH=str(bare_machine), PYTHON="")
    assert refused.returncode != 0
    assert "Python 3.11 or 3.12 with pip and venv" in refused.stderr


def test_a_shim_for_a_python_that_is_not_there_is_passed_over(bare_machine, tmp_path):
    a_python(bare_machine, "python3.12", 127)
    a_python(bare_machine, "python3.11", 0)
    made = run("scripts/setup", "venv", PATH=str(bare_machine), PYTHON="")
    assert made.returncode == 0, made.stderr
    assert (bare_machine / "asked").read_text().splitlines()[-1] == "python3.11 -m venv --clear .venv"


def test_where_nothing_may_be_skipped_a_skipped_test_fails(tmp_path):
    (tmp_path / "test_it.py").write_text("import pytest\ndef test_it():\n    pytest.skip('no browser')\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    pytest_ = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", tmp_path)
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    assert run(*pytest_, cwd=tmp_path, **environment).returncode == 0
    refused = run(*pytest_, "-p", "tests.no_skips", cwd=tmp_path, **environment)
    assert refused.returncode == 1
    assert "no browser" in refused.stdout

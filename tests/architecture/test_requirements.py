"""The locked packages: pinned with hashes, naming no index, and the same ones for the program and for its tests."""

import re
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

REQUIREMENTS = ROOT / "requirements"


def pins(file: Path) -> dict[str, str]:
    """Package to version, of a file made by `make lock`."""
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", file.read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["run.txt", "dev.txt"])
def test_every_package_is_pinned_with_a_hash(name):
    logical_lines = (REQUIREMENTS / name).read_text().replace("\\\n", " ").splitlines()
    packages = [line for line in logical_lines if line and not line.lstrip().startswith("#")]
    assert packages
    assert [line.split()[0] for line in packages if "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("name", ["run.txt", "dev.txt"])
def test_no_index_is_named(name):
    assert (
        re.findall(r"https?://\S+|file:\S+|--(?:extra-)?index-url|--find-links", (REQUIREMENTS / name).read_text())
        == []
    )


def test_tests_run_on_what_the_program_runs_on():
    run, dev = pins(REQUIREMENTS / "run.txt"), pins(REQUIREMENTS / "dev.txt")
    assert run.items() <= dev.items()


def test_the_program_installs_no_test_tools():
    assert {"pytest", "ruff", "mypy", "coverage", "hypothesis"} & pins(REQUIREMENTS / "run.txt").keys() == set()

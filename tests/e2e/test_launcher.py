"""The command `atelier`: what documents and help call by that name is there, and works from any folder."""

import os
import re
import subprocess
from pathlib import Path

from tests.e2e.compose_file import ROOT


def test_the_launcher_works_from_any_folder_and_by_any_name(tmp_path: Path) -> None:
    (tmp_path / "cli.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "by another name").symlink_to(ROOT / "scripts" / "atelier")
    for command in (ROOT / "scripts" / "atelier", tmp_path / "by another name"):
        done = subprocess.run(
            [command, "--help"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "usage: atelier" in done.stdout


def test_set_up_leads_the_command_of_the_environment_to_it(tmp_path: Path) -> None:
    """In a copy of the project whose packages are there already, so that nothing is installed."""
    for folder in (".venv/bin", "scripts", "requirements"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(ROOT / ".venv/bin/python")
    for name in ("scripts/setup", "scripts/atelier", "requirements/run.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
        (tmp_path / name).chmod(0o755)
    (tmp_path / ".venv/run.txt").write_bytes((ROOT / "requirements/run.txt").read_bytes())
    for _ in range(2):
        subprocess.run([tmp_path / "scripts/setup", "run"], env={"PATH": os.environ["PATH"]}, check=True)
    assert (tmp_path / ".venv/bin/atelier").resolve() == tmp_path / "scripts/atelier"


def test_the_image_has_the_command_too() -> None:
    text = (ROOT / "Dockerfile").read_text()
    [path] = re.findall(r"^ENV PATH=([^:]+):\$PATH", text, re.MULTILINE)
    assert f"> {path}/atelier" in text

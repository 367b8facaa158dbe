"""What the commands say at their end, and where they write it."""

import json
import re
import sys
from pathlib import Path

import pytest

from bench import __main__ as whole
from bench import figures, peers
from bench.fairness import __main__ as fairness
from bench.faults import campaign
from bench.faults.campaign import Options, OverdueError
from bench.growth import __main__ as growth
from bench.scaling import __main__ as scaling
from bench.scaling import costs
from bench.versus import __main__ as versus
from runtime.settings import Settings
from tests.architecture.source import ROOT

PLACES = {
    whole.COMMAND: whole.PAGE,
    fairness.COMMAND: fairness.DOCUMENT,
    scaling.COMMAND: scaling.DOCUMENT,
    costs.COMMAND: costs.DOCUMENT,
}


@pytest.mark.parametrize("command", PLACES)
def test_each_table_has_its_place_in_a_document(command: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PLACES[command].read_text())
    figures.document(page, command, "| a | table |")
    assert f"<!-- figures: {command} -->\n| a | table |\n<!-- end of figures -->" in page.read_text()


@pytest.mark.parametrize(("many", "status"), [(1.2, 0), (1.3, 1)])
def test_growth_fails_when_a_step_misses_its_goal(
    many: float, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def run(*_: object) -> growth.Figures:
        return growth.Figures(few=1, many=2, filling_seconds=0, steps={"accept": (1.0, 1.0), "claim": (1.0, many)})

    monkeypatch.setattr(growth, "_run", run)
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["growth"])
    assert growth.main() == status
    [written] = tmp_path.glob("growth-*.json")
    assert json.loads(written.read_text()).keys() == {"machine", "load", "measured"}


def test_growth_takes_each_step_in_two_databases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever such short turns say of their goals."""
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    given = ["growth", "--rows", "200", "--few", "100", "--turns", "3", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", given)
    assert growth.main() in {0, 1}
    [written] = tmp_path.glob("growth-*.json")
    steps = json.loads(written.read_text())["measured"]["steps"]
    assert {"accept", "relay step", "claim and start", "look for the image", "record"} < steps.keys()


def test_two_checkouts_are_asked_in_turn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of this one and itself, whatever such short turns say."""
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    few = ["--turns", "1", "--seconds", "0.5", "--rates", "20", "--idle", "2", "--warm-up", "8"]
    monkeypatch.setattr(sys, "argv", ["versus", str(ROOT), *few])
    assert versus.main() == 0
    [written] = tmp_path.glob("versus-*.json")
    measured = json.loads(written.read_text())["measured"]
    assert measured["here"].keys() == measured["other"].keys()
    assert len(measured["here"]["POST to webhook p50, after idle, ms"]) == 2
    assert "| CPU of an image, flooded, ms " in capsys.readouterr().out


def test_what_is_no_checkout_is_said_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["versus", str(tmp_path)])
    assert versus.main() == 2
    assert capsys.readouterr().err == f"{tmp_path} is no checkout of this project\n"


def test_peers_are_looked_for_only_where_they_are_said_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "driver.py").touch()
    monkeypatch.delenv("ATELIER_PEERS", raising=False)
    found = peers.find()
    assert isinstance(found, str)
    assert "set ATELIER_PEERS " in found
    monkeypatch.setenv("ATELIER_PEERS", str(tmp_path))
    monkeypatch.setenv("ATELIER_PEERS_PYTHON", str(tmp_path / "none"))
    assert "set ATELIER_PEERS_PYTHON " in str(peers.find())


async def test_a_round_of_faults_that_does_not_end_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said: list[str] = []
    with pytest.raises(OverdueError, match=r"had not ended after 0 s \(seed 7\)"):
        await campaign.run(Settings(), Options(seed=7, deadline=0), said.append)
    [kept] = tmp_path.glob("atelier-faults-*")
    assert said[-1].endswith(str(kept))


def test_documents_name_commands_as_they_work_in_a_fresh_shell() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    bare = re.compile(r"(?<!\.venv/bin/)\bpython -m (?:bench|scripts)\b")
    assert [page.name for page in pages if bare.search(page.read_text())] == []

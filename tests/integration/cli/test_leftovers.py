"""`atelier leftovers`."""

import argparse

import pytest

from cli import leftovers
from runtime.settings import Settings


@pytest.mark.parametrize("given", [{"delete": False}, {"delete": True}])
def test_a_person_is_told_how_much_nothing_refers_to(
    settings: Settings, capsys: pytest.CaptureFixture[str], given: dict[str, bool]
) -> None:
    assert leftovers.run(argparse.Namespace(**given, json=False), settings) == 0
    assert capsys.readouterr().out.startswith("Nothing refers to 0 objects with 0 bytes.")
    assert leftovers.run(argparse.Namespace(**given, json=True), settings) == 0
    assert '"deleted": 0' in capsys.readouterr().out

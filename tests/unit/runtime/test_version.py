import tomllib
from pathlib import Path

from runtime.version import VERSION


def test_the_program_names_itself_by_the_version_of_its_package() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION

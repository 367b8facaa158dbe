"""Where things stand: one name for one module everywhere, tests that mirror the source, drivers behind protocols."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, Source, assert_kept, snippet

STORAGE_FOR_THE_DOMAIN = {"storage.addresses", "storage.base", "storage.errors", "storage.keys", "storage.shelf"}

NOT_A_MODULE = {
    "api/routes": {"assets": "signed addresses of stored bytes, which storage hands out and no module owns"},
    "api/schemas": {},
    "workers/actors": {},
}
"""Names beside the domain modules' own, and why."""

CROSSING = {
    "growth": "what every module reads of tables that grow",
    "tenancy": "row-level security guards the tables of every module",
}
"""Folders of tests that mirror no folder of the source, and why."""


def strangers(folder: str, names: set[str], modules: set[str]) -> list[str]:
    """Files of a folder that are named for no domain module."""
    return [f"{folder}/{name} is named for no module of domain/" for name in sorted(names - modules)]


def drivers_in_the_domain(source: Source) -> Iterator[str]:
    """The domain knows what a store is, not which: the instance comes as an argument."""
    for line, name in source.imports():
        if name.startswith("storage.") and not any(
            f"{name}.".startswith(f"{part}.") for part in STORAGE_FOR_THE_DOMAIN
        ):
            yield source.at(line, f"{name}: which store it is, is none of the domain's business")


def names_in(folder: Path) -> set[str]:
    """Python files and packages directly in a folder."""
    files = {path.stem for path in folder.glob("*.py")}
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return (files | packages) - {"__init__"}


def domain_modules() -> set[str]:
    return {path.parent.name for path in (ROOT / "domain").glob("*/__init__.py")}


@pytest.mark.parametrize("folder", NOT_A_MODULE)
def test_a_route_a_schema_and_an_actor_are_named_for_their_domain_module(folder):
    assert strangers(folder, names_in(ROOT / folder) - set(NOT_A_MODULE[folder]), domain_modules()) == []


def test_every_domain_module_has_tests_that_bear_its_name():
    files = [path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")]
    names = {part for file in files for part in (*file.parent.parts, file.stem.removeprefix("test_"))}
    assert sorted(domain_modules() - names) == []


@pytest.mark.parametrize("kind", ["unit", "integration"])
def test_a_folder_of_tests_mirrors_a_folder_of_the_source(kind):
    root = ROOT / "tests" / kind
    folders = {path.parent.relative_to(root) for path in root.rglob("test_*.py")} - {Path(name) for name in CROSSING}
    assert [str(folder) for folder in sorted(folders) if not (ROOT / folder).is_dir()] == []


def test_every_folder_of_tests_is_a_package():
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_the_domain_knows_no_driver_of_storage():
    assert_kept(drivers_in_the_domain, "domain")


@pytest.mark.parametrize(
    "bad", ["from storage import local", "import storage.s3", "from storage.memory import MemoryStore"]
)
def test_a_driver_in_the_domain_is_named(bad):
    assert len(list(drivers_in_the_domain(snippet(bad)))) == 1


@pytest.mark.parametrize("good", ["from storage import base, errors", "from storage.base import ObjectStore"])
def test_the_protocol_is_open_to_the_domain(good):
    assert list(drivers_in_the_domain(snippet(good))) == []


def test_a_file_named_for_no_module_is_named():
    assert strangers("api/routes", {"webhooks", "hooks"}, {"webhooks"}) == [
        "api/routes/hooks is named for no module of domain/"
    ]


def test_what_coverage_leaves_out_is_there_and_is_short():
    left_out = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]["report"]["omit"]
    assert [path for path in left_out if not (ROOT / path).exists()] == []
    assert len(left_out) <= 8

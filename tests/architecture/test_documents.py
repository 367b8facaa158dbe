"""What is written of the code says what the code says."""

import re

import pytest

from domain.errors import DomainError
from runtime.settings import PREFIX, Settings
from scripts import reference
from tests.architecture.source import ROOT


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_made_from_the_code_is_up_to_date(name):
    assert (reference.DOCS / name).read_text() == reference.PAGES[name](), "`make fix` writes it anew"


def test_a_stale_page_is_named_and_written_anew(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(reference, "DOCS", tmp_path)
    (tmp_path / "settings.md").write_text("# Settings\n")
    assert reference.main(["--check"]) == 1
    assert "docs/settings.md is out of date" in capsys.readouterr().out
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    assert (tmp_path / "settings.md").read_text() == reference.settings_page()


def test_every_setting_says_what_it_does():
    rows = re.findall(r"^\| `(\w+)` \| .* \| .* \| ?(.*) ?\|$", reference.settings_page(), re.MULTILINE)
    assert {name for name, _ in rows} == {f"{PREFIX}{name.upper()}" for name in Settings.__struct_fields__}
    assert [name for name, text in rows if not text.strip()] == []


def test_every_error_has_a_code_of_its_own():
    codes = [kind.code for kind in reference.errors()]
    assert sorted({code for code in codes if codes.count(code) > 1}) == []
    assert DomainError.code not in codes
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", code)] == []


def test_every_error_says_in_a_sentence_what_happened():
    undocumented = [kind.__name__ for kind in reference.errors() if not (kind.__doc__ or "").strip().endswith(".")]
    assert undocumented == []


def test_every_link_between_documents_leads_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = [(page, target) for page in pages for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())]
    broken = [
        f"{page.name}: {target}"
        for page, target in links
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_decisions_are_numbered_listed_and_have_the_four_sections():
    pages = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    listed = (ROOT / "docs/decisions/README.md").read_text()
    sections = ["## Context", "## Decision", "## Refused", "## Consequences"]
    for page in pages:
        lines = page.read_text().splitlines()
        assert page.name in listed
        assert lines[0].startswith(f"# {page.name[:4]}: ")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d, (accepted|superseded by \d{4})", lines[2])
        assert [line for line in lines if line.startswith("## ")] == sections
        assert len(lines) <= 60

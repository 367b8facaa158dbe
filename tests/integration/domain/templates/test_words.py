"""Where the kit lets long words break, asked of the kit itself."""

import json
import shutil
from pathlib import Path

import pytest
import typst

from domain.templates import catalogue, typefaces

LONG = "Donaudampfschifffahrtsgesellschaftskapitän"
ADDRESS = "https://lake.example/a-very-long-path/to/somewhere"
SOFT_HYPHEN, ZERO_WIDTH_SPACE = "\u00ad", "\u200b"


@pytest.fixture
def broken(tmp_path: Path):
    shutil.copytree(catalogue.BUILTIN / catalogue.KIT, tmp_path / "kit")

    def ask(words: str) -> str:
        probe = tmp_path / "probe.typ"
        asked = json.dumps(words, ensure_ascii=False)
        probe.write_text(f'#import "/kit/words.typ": breakable\n#metadata(breakable({asked})) <asked>')
        fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[typefaces.SHIPPED])
        found = typst.query(probe, "<asked>", field="value", one=True, root=tmp_path, font_paths=fonts)
        return str(json.loads(found))

    return ask


def test_a_long_word_is_hyphenated_in_even_pieces(broken):
    pieces = broken(f"{LONG} gesucht").split(SOFT_HYPHEN)
    assert "".join(pieces) == f"{LONG} gesucht"
    assert len(pieces) == 3
    assert all(10 <= len(piece) <= 17 for piece in pieces[:-1])


@pytest.mark.parametrize("words", ["Internationalization of everything", "short", "مرحبا بالعالم"])
def test_words_that_fit_stay_whole(broken, words):
    assert broken(words) == words


def test_an_address_gets_no_hyphen_that_would_change_it(broken):
    assert broken(ADDRESS).split(ZERO_WIDTH_SPACE) == list(ADDRESS)


def test_a_word_of_any_letters_keeps_all_of_them(broken):
    for words in ("x" * 160, "a" * 25, "АБВ" * 20, "ё" * 24 + "!"):
        assert broken(words).replace(SOFT_HYPHEN, "") == words
        assert SOFT_HYPHEN in broken(words)

"""The shipped fonts, asked through the kit that all templates share: which letters they know."""

import re
import shutil
from pathlib import Path

import msgspec
import pytest
import typst

from domain.templates import catalogue, typefaces

UNKNOWN = "\U0010fffd"
TEXTS = {
    "Latin": "The quick brown fox — “jumps” … over £€¥₹₩₿ № ½ × − → ✓ • ©®™",
    "European": "Ærøskøbing Ľubomír Şanlıurfa Đồng Þórður Łódź Ñandú Œuvre ÀÇÉÎÕÜ ßẞ",
    "Cyrillic": "Съешь же ещё этих мягких французских булок Ґґ Її Єє Ћћ Ђђ",
    "Greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία ΩΏ",
    "Arabic": "نص حكيم له سر قاطع وذو شأن عظيم ٠١٢٣٤٥٦٧٨٩ ، ؛ ؟ لَا پچژگ",
    "Hebrew": "דג סקרן שט בים מאוכזב ולפתע מצא חברה ״״ ׳ שָׁלוֹם",
    "Devanagari": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा क्षत्रिय ज्ञान श्री ०१२३४५६७८९ ।",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(catalogue.BUILTIN, root / "templates")
    return root


def glyphs(root: Path, family: str, words: str) -> set[str]:
    """The outlines that a text is drawn with."""
    order = {"input": {"words": words}, "width": 2000, "height": 100, "families": []}
    (root / "order.json").write_bytes(msgspec.json.encode(order))
    (root / "probe.typ").write_text(
        '#import "/templates/kit/order.typ": *\\n#import "/templates/kit/words.typ": direction\\n'
        f"#show: canvas.with(white)\\n#text(font: {family}, dir: direction(given.words), given.words)".replace(
            "\\n", "\n"
        )
    )
    fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[typefaces.SHIPPED])
    drawn, warnings = typst.Compiler(
        root / "probe.typ", root=root, font_paths=fonts, ignore_system_fonts=True
    ).compile_with_warnings(format="svg")
    assert [warning.message for warning in warnings] == []
    assert isinstance(drawn, bytes)
    return set(re.findall(rb'<symbol[^>]*><path d="([^"]*)"', drawn))


@pytest.mark.parametrize("family", ["sans", "display", "serif"])
@pytest.mark.parametrize("script", TEXTS)
def test_every_letter_of_the_shipped_scripts_is_drawn(root, family, script):
    missing = glyphs(root, family, UNKNOWN)
    assert len(missing) == 1
    drawn = glyphs(root, family, TEXTS[script])
    assert len(drawn) > 15
    assert drawn.isdisjoint(missing)


def test_a_letter_that_no_font_has_would_be_noticed(root):
    assert glyphs(root, "sans", f"abc{UNKNOWN}") & glyphs(root, "sans", UNKNOWN)


def test_arabic_letters_join_and_devanagari_letters_form_conjuncts(root):
    joined, apart = glyphs(root, "sans", "مرحبا"), set.union(*(glyphs(root, "sans", letter) for letter in "مرحبا"))
    assert joined != apart
    assert len(glyphs(root, "sans", "क्ष")) == 1

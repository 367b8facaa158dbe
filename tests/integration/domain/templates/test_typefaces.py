"""The shipped fonts, asked through the kit that all templates share: which letters they know."""

import re
import shutil
import struct
import unicodedata
from pathlib import Path

import msgspec
import pytest
import typst

from domain.templates import catalogue, coverage, typefaces

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


@pytest.mark.parametrize("script", TEXTS)
def test_every_letter_of_the_shipped_scripts_is_known_to_be_there(script):
    assert coverage.missing(TEXTS[script], coverage.of(typefaces.for_any_words(None))) == []


def test_what_is_said_to_be_missing_is_what_is_drawn_as_an_empty_box(root):
    covered = coverage.of(typefaces.for_any_words(None))
    (box,) = glyphs(root, "sans", UNKNOWN)
    for point in [*range(0xC0, 0x2E80, 61), *range(0x1F300, 0x1FAFF, 211), 0x6E56, 0x304C, 0xD55C, 0x1E9E, 0x212B]:
        character = chr(point)
        if unicodedata.category(character) not in {"Cn", "Mn", "Mc"}:
            said = bool(coverage.missing(character, covered))
            assert said == (box in glyphs(root, "sans", character)), hex(point)


@pytest.mark.parametrize(
    "words",
    ["a\u200db\ufe0f\ufe0e", "\u2066abc\u2069\u200f\u200b\u00ad", "e\u0301 o\u0308", "\u212b", "a\u3000b\n\tc", ""],
)
def test_what_has_no_shape_of_its_own_is_never_missing(words):
    assert coverage.missing(words, coverage.of(typefaces.for_any_words(None))) == []


def test_a_collection_is_read_font_by_font(tmp_path):
    """Two fonts behind one header, as packs for CJK come."""
    bodies = [(typefaces.SHIPPED / f"NotoSans{script}-Regular.ttf").read_bytes() for script in ("Hebrew", "Arabic")]
    start = 12 + 4 * len(bodies)
    places = [start, start + len(bodies[0])]
    moved = [_moved(body, place) for body, place in zip(bodies, places, strict=True)]
    (tmp_path / "both.ttc").write_bytes(b"ttcf" + struct.pack(">IIII", 0x10000, 2, *places) + b"".join(moved))
    found = coverage.of([tmp_path / "both.ttc"])
    assert {ord("ש"), ord("س")} <= found
    assert ord("श") not in found


def _moved(body: bytes, by: int) -> bytes:
    """Offsets of tables count from the beginning of the file."""
    moved = bytearray(body)
    for number in range(int.from_bytes(body[4:6])):
        at = 12 + 16 * number + 8
        moved[at : at + 4] = (int.from_bytes(body[at : at + 4]) + by).to_bytes(4)
    return bytes(moved)

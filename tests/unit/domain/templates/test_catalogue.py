import json
import re

import pytest

from domain.templates import catalogue, geometry
from domain.templates.errors import InputInvalid, TemplateNotFound

CARD = catalogue.get("social-card")
PHOTO = {"headline": "Hello", "photo": "https://pictures.example/a.jpg"}


def refused(template: str, given: object) -> dict[str, str]:
    with pytest.raises(InputInvalid) as caught:
        catalogue.check(catalogue.get(template), given)
    return {field.pointer: field.detail for field in caught.value.fields}


def identity(given: object, pictures: dict[str, str] | None = None, **changed: object) -> str:
    parts: dict = {
        "template": CARD,
        "canvas": geometry.canvas(CARD.size, geometry.Output()),
        "renderer": "r1",
        "fonts": "f1",
        "scope": "org_a",
    } | changed
    template, canvas = parts.pop("template"), parts.pop("canvas")
    return catalogue.identity(template, given, pictures or {}, canvas, **parts)


def test_the_templates_that_are_built_in():
    assert sorted(catalogue.all_templates()) == ["badge", "product-card", "prompt-card", "quote-card", "social-card"]


@pytest.mark.parametrize("template", catalogue.all_templates().values(), ids=lambda template: template.name)
def test_every_template_is_whole(template):
    catalogue.check(template, template.example)
    assert template.title
    assert template.description
    assert all(field.get("description") or field.get("$ref") for field in template.schema["properties"].values()), (
        "each field says what it is for"
    )
    assert re.fullmatch(r"[0-9a-f]{12}", template.version)
    assert (template.folder / "preview.png").stat().st_size < 300_000


@pytest.mark.parametrize("template", catalogue.all_templates().values(), ids=lambda template: template.name)
def test_every_text_of_every_template_is_bounded(template):
    texts = [field for field in template.schema["properties"].values() if field.get("type") == "string"]
    assert all("maxLength" in field or "pattern" in field for field in texts)


@pytest.mark.parametrize("name", ["", "nothing", "../badge", "kit", "samples", "Badge"])
def test_a_template_that_does_not_exist_is_not_found(name):
    with pytest.raises(TemplateNotFound) as caught:
        catalogue.get(name)
    assert caught.value.code == "template_not_found"


def test_all_that_does_not_fit_is_said_at_once():
    assert refused("product-card", {"price": 12, "name": "", "colour": "red", "accent": "red", "palette": "neon"}) == {
        "/input/accent": "must match ^#[0-9a-fA-F]{6}$",
        "/input/colour": "is not a field of this template",
        "/input/name": "must have at least 1 characters",
        "/input/palette": "must be one of paper, ink, forest, ocean, ember, rose, sand, lilac",
        "/input/price": "must be of type string",
    }


def test_what_is_missing_is_named_where_it_should_be():
    assert refused("quote-card", {}) == {"/input/name": "is required", "/input/quote": "is required"}


@pytest.mark.parametrize("given", [None, [], "text", 7])
def test_an_input_is_an_object(given):
    assert refused("badge", given) == {"/input": "must be of type object"}


def test_names_with_slashes_and_tildes_are_escaped_in_pointers():
    assert refused("badge", {"label": "A", "a/b~c": 1}) == {"/input/a~1b~0c": "is not a field of this template"}


def test_a_refusal_does_not_repeat_a_long_text():
    texts = refused("badge", {"label": "x" * 10_000, "y" * 10_000: 1})
    assert texts["/input/label"] == "must have at most 16 characters"
    assert sum(len(pointer) + len(text) for pointer, text in texts.items()) < 300


def test_a_refusal_is_not_longer_than_one_can_read():
    assert len(refused("badge", {"label": "A"} | {f"field{n}": n for n in range(1000)})) == 50


@pytest.mark.parametrize(
    "reference",
    ["https://example.com/a.png", "https://example.com", f"file_{'0' * 26}", "https://example.com:8443/?a=b"],
)
def test_a_picture_is_a_file_or_an_address(reference):
    catalogue.check(CARD, PHOTO | {"photo": reference})


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "http://example.com/a.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "../a.png",
        "data:image/png;base64,AAAA",
        "https://",
        f"file_{'0' * 25}",
        f"file_{'U' * 26}",
        f"gen_{'0' * 26}",
        "https://example.com/a b.png",
        "https://example.com/\n",
    ],
)
def test_nothing_else_is_a_picture(reference):
    assert list(refused("social-card", PHOTO | {"photo": reference})) == ["/input/photo"]


def test_the_pictures_of_an_input_are_found_by_their_place():
    given = PHOTO | {"logo": f"file_{'0' * 26}", "qr": "https://example.com"}
    assert catalogue.pictures(CARD, given) == {"/photo": PHOTO["photo"], "/logo": given["logo"]}
    assert catalogue.pictures(CARD, {"headline": "https://example.com"}) == {}


def test_a_canonical_input_has_one_spelling():
    spellings = ['{"b": [1.0, true, null], "a": "\\u00e9"}', '{"a":"é","b":[1,true,null]}']
    assert {catalogue.canonical(json.loads(text)) for text in spellings} == {'{"a":"é","b":[1,true,null]}'.encode()}
    assert catalogue.canonical({"a": 1}) != catalogue.canonical({"a": True}) != catalogue.canonical({"a": "1"})
    assert catalogue.canonical(0.5) == b"0.5"


def test_the_same_image_has_the_same_identity():
    assert identity({"headline": "A", "brand": "B"}) == identity({"brand": "B", "headline": "A"})
    assert identity(PHOTO, {"/photo": "aa"}) == identity(
        PHOTO | {"photo": "https://elsewhere.example/"}, {"/photo": "aa"}
    )
    implied = geometry.canvas(CARD.size, geometry.Output(width=1200, height=630, scale=1.0))
    assert identity(PHOTO) == identity(PHOTO, canvas=implied)


@pytest.mark.parametrize(
    "changed",
    [
        {"scope": "org_b"},
        {"renderer": "r2"},
        {"fonts": "f2"},
        {"template": catalogue.get("quote-card")},
        {"canvas": geometry.canvas(CARD.size, geometry.Output(format="webp"))},
        {"canvas": geometry.canvas(CARD.size, geometry.Output(scale=2))},
        {"given": {"headline": "Hello"}},
        {"pictures": {"/photo": "bb"}},
    ],
)
def test_whatever_changes_the_image_changes_its_identity(changed):
    assert identity(**({"given": PHOTO, "pictures": {"/photo": "aa"}} | changed)) != identity(PHOTO, {"/photo": "aa"})


def test_a_text_that_looks_like_a_digest_is_not_the_picture():
    assert identity(PHOTO, {"/photo": "aa"}) != identity(PHOTO | {"photo": "aa"})


def test_a_line_break_after_a_value_is_a_part_of_it():
    assert refused("badge", {"label": "A", "accent": "#ffffff\n"}) == {"/input/accent": "must match ^#[0-9a-fA-F]{6}$"}

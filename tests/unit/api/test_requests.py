"""Bodies into what handlers take, and misfits into problems that point at the place."""

from typing import Any

import msgspec
import pytest

from api import requests
from api.errors import BodyInvalid, BodyMalformed


class Output(msgspec.Struct, forbid_unknown_fields=True):
    width: int | None = None
    tags: dict[str, int] = {}
    sizes: list[int] = []


class Order(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    output: Output = msgspec.field(default_factory=Output)


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        (b'{"output": {}}', "/name", "is required"),
        (b'{"name": "a", "colour": "red"}', "/colour", "is not a field here"),
        (b'{"name": "a", "a/b~c": 1}', "/a~1b~0c", "is not a field here"),
        (b'{"name": 5}', "/name", "expected `str`, got `int`"),
        (b'{"name": "a", "output": {"width": "300"}}', "/output/width", "expected `int | null`, got `str`"),
        (b'{"name": "a", "output": {"sizes": [1, "2"]}}', "/output/sizes/1", "expected `int`, got `str`"),
        (b'{"name": "a", "output": {"tags": {"x.y": "2"}}}', "/output/tags", "expected `int`, got `str`"),
        (b"[]", "", "expected `object`, got `array`"),
        (b'{"name": "a\\u0000b"}', "/name", "the character U+0000 cannot be stored"),
        (
            b'{"name": "a", "output": {"sizes": [1, "\\u0000"]}}',
            "/output/sizes/1",
            "the character U+0000 cannot be stored",
        ),
        (b'{"name": "a", "output": {"a\\u0000": 1}}', "/output", "the character U+0000 cannot be stored"),
    ],
)
def test_a_misfit_is_pointed_at(body, pointer, detail):
    with pytest.raises(BodyInvalid) as refused:
        requests.decode(body, Order)
    assert [(field.pointer, field.detail) for field in refused.value.fields] == [(pointer, detail)]


@pytest.mark.parametrize("body", [b"", b"{", b"{'name': 1}", b'{"name": "\xff"}', b'{"name": "\\ud800"}', b"NaN"])
def test_what_is_not_json_is_malformed(body):
    with pytest.raises(BodyMalformed):
        requests.decode(body, Order)


def test_numbers_in_quotes_are_not_numbers():
    with pytest.raises(BodyInvalid):
        requests.decode(b'{"name": "a", "output": {"width": "1"}}', Order)


def test_an_escaped_backslash_before_u0000_is_text_like_any_other():
    assert requests.decode(rb'{"name": "\\u0000"}', Order).name == r"\u0000"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_refused_before_it_is_decoded(opening):
    with pytest.raises(BodyInvalid, match="too deeply"):
        requests.decode(opening.encode() * 100_000, Any)


def test_brackets_in_strings_and_beside_each_other_are_not_depth():
    wide = [[f'[[[{{{{{number}\\"[['] for number in range(100)]
    assert requests.decode(msgspec.json.encode(wide), Any) == wide


def test_the_deepest_body_that_is_allowed():
    body = b"[" * requests.DEEPEST + b"]" * requests.DEEPEST
    assert requests.decode(body, Any)
    with pytest.raises(BodyInvalid):
        requests.decode(b"[" + body + b"]", Any)

"""Requests whose JSON bodies are decoded straight into what their handler takes, strictly and in one pass."""

import functools
import re
from typing import Any, Final

import litestar
import msgspec

from api import errors, problems
from domain.errors import DomainError

DEEPEST: Final = 32
"""Levels of arrays and objects in a body."""

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]')
_PLACE = re.compile(r"^(?P<text>.*) - at `(?P<path>\$.*)`$", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]")
_ZERO = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_QUOTED = re.compile(r"field `(?P<name>[^`]*)`")


class Request(litestar.Request[Any, Any, Any]):
    """Litestar's, except that `json()` gives the handler's own type and refuses what does not fit it."""

    async def json(self) -> Any:
        body = await self.body()
        field = self.route_handler.parsed_data_field
        return decode(body, field.annotation if field else Any, self.scope["headers"])


def decode(body: bytes, type_: Any, headers: Any) -> Any:
    """Raises MediaTypeUnsupported, BodyMalformed, BodyInvalid."""
    _check_media_type(headers)
    _check_depth(body)
    if b"\\u0000" in body and _ZERO.search(body):
        raise problems.invalid_body("the body does not fit", ("", "the character U+0000 cannot be stored"))
    try:
        return _decoder(type_).decode(body)
    except msgspec.ValidationError as error:
        raise _misfit(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.BodyMalformed(f"the body is not JSON: {error}") from None


@functools.cache
def _decoder(type_: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(type_)


def _check_media_type(headers: list[tuple[bytes, bytes]]) -> None:
    given = next((value for name, value in headers if name == b"content-type"), b"")
    if given != b"application/json":
        media_type = given.split(b";", 1)[0].strip().lower()
        if media_type != b"application/json" and not media_type.endswith(b"+json"):
            raise errors.MediaTypeUnsupported


def _check_depth(body: bytes) -> None:
    """Two counts decide nearly always; only a body with many brackets is walked through."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return
    depth = 0
    for token in _TOKEN.finditer(body):
        first = body[token.start()]
        if first in b"[{":
            depth += 1
            if depth > DEEPEST:
                raise problems.invalid_body("the body is nested too deeply", ("", f"at most {DEEPEST} levels"))
        elif first in b"]}":
            depth -= 1


def _misfit(message: str) -> DomainError:
    """msgspec's text, `… - at `$.output.width``, as a problem with a JSON pointer."""
    found = _PLACE.match(message)
    text, path = (found["text"], found["path"]) if found else (message, "$")
    known = path.partition("[...]")[0]  # a value of a map: msgspec does not say which
    pointer = "".join(f"/{_escaped(step['name'] or step['index'])}" for step in _STEP.finditer(known))
    if named := _QUOTED.search(text):
        pointer += f"/{_escaped(named['name'])}"
        text = "is required" if "missing" in text else "is not a field here"
    return problems.invalid_body("the body does not fit", (pointer, text[:1].lower() + text[1:]))


def _escaped(step: str) -> str:
    """RFC 6901, section 3."""
    return step.replace("~", "~0").replace("/", "~1")

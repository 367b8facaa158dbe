"""Requests whose JSON bodies are decoded straight into what their handler takes, strictly and in one pass."""

import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import litestar
import msgspec

from api import errors, problems
from domain.errors import DomainError, TooLarge

T = TypeVar("T")

DEEPEST: Final = 32
"""Levels of arrays and objects in a body."""

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]')
_PLACE = re.compile(r"^(?P<text>.*) - at (?P<key>`key` in )?`(?P<path>\$.*)`$", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]")
_ZERO = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_QUOTED = re.compile(r"field `(?P<name>[^`]*)`")


class Request(litestar.Request[Any, Any, Any]):
    """Litestar's, except that `json()` gives the handler's own type and refuses what does not fit it."""

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """The header's fields as they came, names in lower case; of repeated ones the last. Quicker than `headers`."""
        state = self.scope["state"]
        if "fields" not in state:
            state["fields"] = dict(self.scope["headers"])
        fields: Mapping[bytes, bytes] = state["fields"]
        return fields

    async def json(self) -> Any:
        field = self.route_handler.parsed_data_field
        return await self.decode(field.annotation if field else Any)

    async def decode(self, type_: type[T]) -> T:
        """Raises MediaTypeUnsupported, BodyMalformed, BodyInvalid, TooLarge."""
        _check_media_type(self.fields.get(b"content-type", b""))
        decoded: T = decode(await self.body(), type_)
        return decoded

    async def body(self) -> bytes:
        """Raises TooLarge. Kept in the scope, so that the request can be done again."""
        state = self.scope["state"]
        if "body" not in state:
            state["body"] = await self._read()
        body: bytes = state["body"]
        return body

    async def _read(self) -> bytes:
        most = self.route_handler.resolve_request_max_body_size() or math.inf
        if int(self.fields.get(b"content-length", b"0")) > most:
            raise TooLarge(f"a body has at most {most} bytes here")
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await self.receive()
            part: bytes = message.get("body", b"")  # type: ignore[assignment]
            parts.append(part)
            size += len(part)
            if size > most:
                raise TooLarge(f"a body has at most {most} bytes here")
            more = bool(message.get("more_body", False))
        return parts[0] if len(parts) == 1 else b"".join(parts)


def decode(body: bytes, type_: Any) -> Any:
    """Raises BodyMalformed, BodyInvalid."""
    _check_depth(body)
    if b"\\u0000" in body and _ZERO.search(body):
        raise problems.invalid_body("the body does not fit", (_zero(body), "the character U+0000 cannot be stored"))
    try:
        return _decoder(type_).decode(body)
    except msgspec.ValidationError as error:
        raise _misfit(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.BodyMalformed(f"the body is not JSON: {error}") from None


@functools.cache
def _decoder(type_: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(type_)


def _check_media_type(given: bytes) -> None:
    if given != b"application/json":
        media_type = given.split(b";", 1)[0].strip().lower()
        if media_type != b"application/json" and not media_type.endswith(b"+json"):
            raise errors.MediaTypeUnsupported("the body must be application/json")


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


def _zero(body: bytes) -> str:
    """Pointer to the first value (or to the object with the first name) that has U+0000. Raises BodyMalformed."""
    try:
        whole = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.BodyMalformed(f"the body is not JSON: {error}") from None
    return next(_zeros(whole, ""), "")


def _zeros(value: object, pointer: str) -> Iterator[str]:
    if isinstance(value, str) and "\0" in value:
        yield pointer
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from [pointer] if "\0" in name else _zeros(part, f"{pointer}/{_escaped(name)}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _zeros(part, f"{pointer}/{index}")


def _misfit(message: str) -> DomainError:
    """msgspec's text, `… - at `$.output.width``, as a problem with a JSON pointer."""
    found = _PLACE.match(message)
    text, path = (found["text"], found["path"]) if found else (message, "$")
    known = path.partition("[...]")[0]  # a value of a map: msgspec does not say which
    pointer = "".join(f"/{_escaped(step['name'] or step['index'])}" for step in _STEP.finditer(known))
    if named := _QUOTED.search(text):
        pointer += f"/{_escaped(named['name'])}"
        text = "is required" if "missing" in text else "is not a field here"
    if found and found["key"]:
        text = f"a name in it: {text}"
    return problems.invalid_body("the body does not fit", (pointer, text[:1].lower() + text[1:]))


def _escaped(step: str) -> str:
    """RFC 6901, section 3."""
    return step.replace("~", "~0").replace("/", "~1")

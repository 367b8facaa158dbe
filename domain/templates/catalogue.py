"""The templates that are built in: each a folder with Typst source, JSON Schema of its input, an example, a preview.

A picture in an input is a string with `"format": "picture"` in the schema: a file's id or an https address.
`"x-size": [width, height]` in the schema is the natural size in pixels.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from jsonschema_rs import Draft202012Validator, ValidationError, meta

from domain.errors import FieldError
from domain.templates import geometry
from domain.templates.errors import InputInvalid, TemplateNotFound
from runtime import ids

BUILTIN: Final = Path(__file__).parent / "builtin"
KIT: Final = "kit"

_ADDRESS = re.compile(r"https://[^\s/]+(/\S*)?")
_MOST_ERRORS = 50
_DRAWS = frozenset({".typ", ".svg"})


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """`version` changes with any file that decides how it looks; `size` is natural width and height in pixels."""

    name: str
    version: str
    title: str
    description: str
    size: tuple[int, int]
    schema: dict[str, Any]
    example: dict[str, Any]
    folder: Path


@cache
def all_templates() -> Mapping[str, Template]:
    return {folder.name: _load(folder) for folder in sorted(BUILTIN.iterdir()) if (folder / "template.typ").is_file()}


def get(name: str) -> Template:
    try:
        return all_templates()[name]
    except KeyError:
        raise TemplateNotFound(f"there is no template {name!r:.80}") from None


def check(template: Template, given: object) -> None:
    """Raises InputInvalid with every field that does not fit, as pointers into `/input`."""
    validator = _validator(template.name)
    if validator.is_valid(given):
        return
    fields = tuple(field for error in validator.iter_errors(given) for field in _fields(error))
    ordered = sorted(fields[:_MOST_ERRORS], key=lambda field: field.pointer)
    raise InputInvalid(f"the input does not fit the template {template.name!r}", fields=tuple(ordered))


def pictures(template: Template, given: object) -> dict[str, str]:
    """Where the input (one that fits) names pictures: JSON pointer inside the input → file id or address."""
    return dict(_pictures(template.schema, given, ""))


def canonical(value: object) -> bytes:
    """JSON with sorted keys and one way to write each number, after RFC 8785."""
    return msgspec.json.encode(_plain(value), order="sorted")


def identity(
    template: Template,
    given: object,
    picture_digests: Mapping[str, str],
    canvas: geometry.Canvas,
    *,
    renderer: str,
    fonts: str,
    scope: str = "",
) -> str:
    """SHA-256 (hex) of all that decides the bytes of an image. `picture_digests` maps the pointers of `pictures` to the
    SHA-256 of what was fetched, so an address that shows another picture tomorrow is another image. `scope` is whatever
    results must not be shared beyond: an organization's id.
    """
    whole = {
        "scope": scope,
        "template": [template.name, template.version],
        "input": _replaced(given, picture_digests, ""),
        "canvas": msgspec.to_builtins(canvas),
        "renderer": renderer,
        "fonts": fonts,
    }
    return hashlib.sha256(canonical(whole)).hexdigest()


def _load(folder: Path) -> Template:
    schema = msgspec.json.decode((folder / "schema.json").read_bytes(), type=dict[str, Any])
    meta.validate(schema)
    width, height = schema["x-size"]
    return Template(
        name=folder.name,
        version=_version(folder),
        title=schema["title"],
        description=schema["description"],
        size=(width, height),
        schema=schema,
        example=msgspec.json.decode((folder / "example.json").read_bytes()),
        folder=folder,
    )


def _version(folder: Path) -> str:
    """Twelve hex digits over everything that draws: the template's own sources and the kit that all share."""
    whole = hashlib.sha256()
    sources = [path for part in (folder, folder.parent / KIT) for path in part.rglob("*") if path.suffix in _DRAWS]
    for path in sorted(sources):
        name = path.relative_to(folder.parent).as_posix()
        whole.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:12]


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(get(name).schema, formats={"picture": _is_picture}, validate_formats=True)


def _is_picture(text: str) -> bool:
    return ids.is_id("file", text) or _ADDRESS.fullmatch(text) is not None


def _fields(error: ValidationError) -> Iterator[FieldError]:
    """jsonschema_rs' own texts repeat the value, however long; these do not."""
    here = "/input" + "".join(f"/{_escaped(part)}" for part in error.instance_path)
    keyword, wanted = error.kind.name, error.kind.value
    if keyword == "required":
        yield FieldError(f"{here}/{_escaped(wanted)}", "is required")
    elif keyword == "additionalProperties":
        for name in sorted(wanted):
            yield FieldError(f"{here}/{_escaped(name):.100}", "is not a field of this template")
    else:
        text = _TEXTS.get(keyword, "does not fit the schema: {0} {1}")
        yield FieldError(here, text.format(keyword, _shown(wanted)))


_TEXTS = {
    "type": "must be of type {1}",
    "enum": "must be one of {1}",
    "minLength": "must have at least {1} characters",
    "maxLength": "must have at most {1} characters",
    "pattern": "must match {1}",
    "format": "must be a {1}: a file's id or an https address",
    "minimum": "must be at least {1}",
    "maximum": "must be at most {1}",
    "minItems": "must have at least {1} items",
    "maxItems": "must have at most {1} items",
}


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _escaped(part: object) -> str:
    """RFC 6901 section 3."""
    return str(part).replace("~", "~0").replace("/", "~1")


def _pictures(schema: Mapping[str, Any], value: object, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and schema.get("format") == "picture":
        yield pointer, value
    elif isinstance(value, dict):
        for name, part in schema.get("properties", {}).items():
            if name in value:
                yield from _pictures(part, value[name], f"{pointer}/{_escaped(name)}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _pictures(schema.get("items", {}), item, f"{pointer}/{index}")


def _replaced(value: object, by: Mapping[str, str], pointer: str) -> object:
    if pointer in by:
        return {"sha256": by[pointer]}
    if isinstance(value, dict):
        return {name: _replaced(part, by, f"{pointer}/{_escaped(name)}") for name, part in value.items()}
    if isinstance(value, list):
        return [_replaced(item, by, f"{pointer}/{index}") for index, item in enumerate(value)]
    return value


def _plain(value: object) -> object:
    """1.0 and 1 are one number in JSON."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value

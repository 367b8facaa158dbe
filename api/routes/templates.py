"""The templates that images can be made with."""

from functools import cache
from typing import Any

import msgspec
from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from api import answers, etags, guards
from api.dependencies import Resources
from api.parameters import IfNoneMatch
from domain.templates import catalogue
from domain.templates.catalogue import Template
from domain.templates.errors import TemplateNotFound

PATH = "/v1/templates"


class TemplateSummary(msgspec.Struct, frozen=True, kw_only=True):
    """`width` and `height` are its natural size in pixels."""

    name: str
    title: str
    description: str
    version: str
    width: int
    height: int
    preview_url: str


class TemplateDetails(TemplateSummary, frozen=True, kw_only=True):
    """`input_schema` is a JSON Schema (draft 2020-12) of `input`; `example` is one that fits."""

    input_schema: dict[str, Any]
    example: dict[str, Any]


class Templates(msgspec.Struct, frozen=True):
    data: list[TemplateSummary]


@get("/", guards=[guards.any_key], summary="List templates", responses=answers.reading())
async def index(resources: NamedDependency[Resources]) -> Templates:
    base = resources.settings.public_url
    return Templates([TemplateSummary(**_summary(found, base)) for found in catalogue.all_templates().values()])


@get("/{name:str}", guards=[guards.any_key], summary="Look at a template", responses=answers.reading(TemplateNotFound))
async def show(name: FromPath[str], resources: NamedDependency[Resources]) -> TemplateDetails:
    found = catalogue.get(name)
    summary = _summary(found, resources.settings.public_url)
    return TemplateDetails(**summary, input_schema=found.schema, example=found.example)


@get(
    "/{name:str}/preview.png",
    media_type="image/png",
    security=[],
    summary="See a template",
    description="Its example as an image. Asks for no key, so that pages can show it.",
    responses=answers.public(TemplateNotFound),
)
async def preview(name: FromPath[str], if_none_match: IfNoneMatch = None) -> Response[bytes]:
    found = catalogue.get(name)
    image = _preview(found.name)
    headers = {"etag": etags.weak(found.version), "cache-control": "public, max-age=3600"}
    if etags.matches(if_none_match, headers["etag"]):
        return etags.not_modified(headers)
    return Response(image, media_type="image/png", headers=headers)


def _summary(found: Template, base: str) -> dict[str, Any]:
    return {
        "name": found.name,
        "title": found.title,
        "description": found.description,
        "version": found.version,
        "width": found.size[0],
        "height": found.size[1],
        "preview_url": f"{base}{PATH}/{found.name}/preview.png",
    }


@cache
def _preview(name: str) -> bytes:
    """Raises TemplateNotFound for a template that has none."""
    path = catalogue.get(name).folder / "preview.png"
    if not path.is_file():
        raise TemplateNotFound(f"the template {name!r} has no preview")
    return path.read_bytes()


router = Router(PATH, route_handlers=[index, show, preview], tags=["Templates"])

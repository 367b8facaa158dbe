"""Pages made from the API's description that need nothing from outside, and the description itself."""

import functools
import html
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from litestar import Litestar, MediaType, Response, Router, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from markdown_it import MarkdownIt

from api import openapi, problems
from api.requests import Request
from domain.errors import DomainError

_STYLE: Final = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent) }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2.5rem auto; padding: 0 1.25rem }
h1 { font-size: 2rem; margin: 0 0 1rem } h2 { margin: 3rem 0 .5rem }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; padding: .6rem .9rem }
summary { cursor: pointer } summary b { font: 600 .8rem ui-monospace, monospace; display: inline-block; width: 4.2rem }
code, pre { font: .86rem/1.5 ui-monospace, monospace } pre { overflow-x: auto; padding: .75rem; margin: .5rem 0;
  border: 1px solid var(--line); border-radius: .4rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 } td, th { text-align: left; vertical-align: top;
  padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line) } nav a { margin-right: 1rem }
td p { margin: 0 } td:first-child { white-space: nowrap } td:last-child { width: 70% }
:target { background: color-mix(in srgb, Highlight 25%, transparent) }
"""
_markdown: Final = MarkdownIt("js-default")
"""CommonMark with raw HTML shown as text."""
_PAGE: Final = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>{title}</title><style>" + _STYLE.replace("{", "{{").replace("}", "}}") + "</style></head><body>"
    '<nav><a href="/docs">Operations</a><a href="/docs/errors">Errors</a><a href="/openapi.json">openapi.json</a></nav>'
    "<h1>{title}</h1>{body}</body></html>"
)


class _Document(OpenAPIRenderPlugin):
    """Litestar gives the description a router of its own, whose page for what is not there is none of ours: so there
    is nothing in it but the description.
    """

    def __init__(self) -> None:
        super().__init__(path=["/", "/openapi.json"], media_type=MediaType.JSON)

    def render(self, request: Any, openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002 - the base class's
        return _document(request.app)


def config(about: openapi.About) -> OpenAPIConfig:
    made = openapi.config(about)
    made.render_plugins = [_Document()]
    return made


@get("/docs", include_in_schema=False)
async def operations(request: Request) -> Response[bytes]:
    return Response(_pages(request.app), media_type="text/html")


@get("/docs/errors", include_in_schema=False)
async def errors() -> Response[str]:
    return Response(_page("Errors", "".join(_errors())), media_type="text/html")


@functools.lru_cache(4)
def _document(app: Litestar) -> bytes:
    return msgspec.json.encode(openapi.describe(app))


@functools.lru_cache(4)
def _pages(app: Litestar) -> bytes:
    described = openapi.describe(app)
    return _page(described["info"]["title"], "".join(_operations(described))).encode()


def refusals() -> list[type[DomainError]]:
    """Every kind of refusal that has a code of its own, by code."""
    found: dict[str, type[DomainError]] = {}
    waiting = list(DomainError.__subclasses__())
    while waiting:
        kind = waiting.pop(0)
        waiting += kind.__subclasses__()
        found.setdefault(kind.code, kind)
    return [found[code] for code in sorted(found)]


def _errors() -> Iterator[str]:
    yield "<table><tr><th>Code</th><th>Status</th><th>What it says</th></tr>"
    for kind in refusals():
        code, status, title = kind.code, problems.status_of(kind), _markdown.renderInline(f"{kind.title()}.")
        yield f'<tr id="{code}"><td><code>{code}</code></td><td>{status}</td><td>{title}</td></tr>'
    yield "</table>"


def _operations(document: dict[str, Any]) -> Iterator[str]:
    yield _markdown.render(document["info"]["description"])
    for tag in document["tags"]:
        yield f"<h2>{html.escape(tag['name'])}</h2>{_markdown.render(tag['description'])}"
        for path, item in document["paths"].items():
            for method in openapi.METHODS:
                if method in item and tag["name"] in item[method].get("tags", ()):
                    yield from _operation(method, path, item[method])


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    head = f"<b>{method.upper()}</b> <code>{html.escape(path)}</code> {html.escape(operation.get('summary', ''))}"
    yield f"<details><summary>{head}</summary>{_markdown.render(operation.get('description', ''))}"
    if parameters := operation.get("parameters"):
        rows = "".join(
            f"<tr><td><code>{html.escape(each['name'])}</code></td><td>{each['in']}</td><td>{_meaning(each)}</td></tr>"
            for each in parameters
        )
        yield f"<table><tr><th>Parameter</th><th>In</th><th>What it does</th></tr>{rows}</table>"
    for media in operation.get("requestBody", {}).get("content", {}).values():
        yield f"<pre>{html.escape(msgspec.json.format(msgspec.json.encode(_shown(media))).decode())}</pre>"
    answers = "".join(
        f"<tr><td><code>{status}</code></td><td>{_markdown.render(response.get('description', ''))}</td></tr>"
        for status, response in operation.get("responses", {}).items()
    )
    yield f"<table><tr><th>Status</th><th>Answer</th></tr>{answers}</table></details>"


def _meaning(parameter: dict[str, Any]) -> str:
    kind = html.escape(str(parameter["schema"].get("type", "string")))
    return _markdown.render(parameter.get("description", "")) or f"<code>{kind}</code>"


def _shown(media: dict[str, Any]) -> object:
    """An example where there is one; else where the schema is found."""
    examples = [example.get("value") for example in media.get("examples", {}).values()]
    return examples[0] if len(examples) == 1 else examples or media.get("schema", {})


def _page(title: str, body: str) -> str:
    return _PAGE.format(title=html.escape(title), body=body)


router = Router("/", route_handlers=[operations, errors])

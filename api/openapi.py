"""The API's description, OpenAPI 3.1: what Litestar reads off the handlers, made true and easy to read."""

import re
from typing import Any, Final, get_args

import msgspec
from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import (
    Components,
    Example,
    License,
    OpenAPIMediaType,
    Parameter,
    Reference,
    RequestBody,
    SecurityScheme,
    Tag,
)

from domain.generations import acceptance
from runtime.version import VERSION

DESCRIPTION: Final = """\
Images from templates, made in the background and charged when they are done.

**Keys.** Send `Authorization: Bearer atl_…` (or `X-API-Key`). A key has scopes; an operation says which it needs.

**Errors** are `application/problem+json` (RFC 9457). Branch on `code`; `/docs/errors` lists them all.

**Doing things once.** Give a POST that creates or charges an `Idempotency-Key`: repeating it under the same key gives
the first answer again, byte for byte, with `Idempotent-Replayed: true`.

**Lists** are newest first: pass `next_cursor` of one page as `cursor` for the next, with the same filters.

**Limits.** `RateLimit` and `RateLimit-Policy` say how many requests are left; 429 and 503 carry `Retry-After`.

**Tracing.** `X-Request-Id` comes back as you sent it, or made; a W3C `traceparent` is carried on to your webhooks.
"""

TAGS: Final = [
    Tag("Generations", "Ask for images and follow them to their end."),
    Tag("Events", "Everything that happened, in one order."),
    Tag("Webhooks", "Where to be told of it, and what was delivered."),
    Tag("Templates", "What images can be made with."),
    Tag("Files", "Pictures of your own to use in them."),
    Tag("Usage and plans", "Credits and what they cost."),
    Tag("API keys", "Who may call."),
    Tag("Assets", "The images themselves, under signed addresses."),
    Tag("Health", "For load balancers and people on call."),
]

OPERATORS_TAGS: Final = [
    Tag("Dead letters", "Tasks that used up their attempts or killed three workers: looked at, replayed, discarded."),
    Tag("Support", "Finding what a customer speaks of."),
    Tag("Bulk operations", "The same for many of them, in the background and at a rate."),
    Tag("Health", "For load balancers and people on call."),
]

METHODS: Final = ("get", "post", "put", "patch", "delete")
SCHEMAS: Final = "#/components/schemas/"
WRITTEN_OUT: Final = {"GenerationRequest": acceptance.Request}
"""Bodies of handlers that decode them themselves."""
RENAMED: Final = {
    "Details": "HealthDetails",
    "Part": "HealthPart",
    "Field": "ProblemField",
    "Draft": "WebhookEndpointDraft",
    "Change": "WebhookEndpointChange",
    "Endpoint": "WebhookEndpoint",
    "EndpointList": "WebhookEndpointList",
    "EndpointWithSecret": "WebhookEndpointWithSecret",
    "Rotation": "WebhookSecretRotation",
    "TestSent": "WebhookTest",
    "Letter": "DeadLetter",
    "LetterList": "DeadLetterList",
    "Filter": "DeadLetterFilter",
    "Decision": "DeadLetterDecision",
    "Discard": "DeadLetterDiscard",
    "Operation": "BulkOperation",
    "OperationList": "BulkOperationList",
    "Wanted": "BulkOperationRequest",
    "Found": "SearchHit",
}

_LISTING = re.compile(r"Listing_(?:\w+\.)*(\w+?)(?:View)?_")
_NOISE: Final = {"deprecated": False, "allowEmptyValue": False, "allowReserved": False}


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a description says of itself, and where it is. `key`: what callers send as a bearer token."""

    title: str
    description: str
    tags: list[Tag]
    key: str
    path: str


CUSTOMERS: Final = About(
    title="Atelier",
    description=DESCRIPTION,
    tags=TAGS,
    key="An API key, `atl_…`; `X-API-Key` takes it too.",
    path="/openapi.json",
)
OPERATORS: Final = About(
    title="Atelier, for operators",
    description="What waits for a person, on the operators' port. Errors are `application/problem+json` (RFC 9457).",
    tags=OPERATORS_TAGS,
    key="The operator's token (`ATELIER_OPERATOR_TOKEN`).",
    path="/operator/openapi.json",
)


def config(about: About) -> OpenAPIConfig:
    """For Litestar; `describe` is what is served."""
    return OpenAPIConfig(
        title=about.title,
        version=VERSION,
        description=about.description,
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        tags=about.tags,
        path=about.path,
        use_handler_docstrings=True,
        components=Components(
            security_schemes={"key": SecurityScheme(type="http", scheme="bearer", description=about.key)}
        ),
    )


def header(parameter: Any) -> Parameter:
    """One of `api.parameters`, for an operation whose handler reads the header itself."""
    given = get_args(parameter)[1]
    return Parameter(name=given.name, param_in="header", description=given.description, required=False)


def body(schema: str, examples: dict[str, Example]) -> RequestBody:
    """`schema` is a name of WRITTEN_OUT."""
    media = OpenAPIMediaType(schema=Reference(ref=SCHEMAS + schema), examples=dict(examples))
    return RequestBody(content={"application/json": media}, required=True)


def describe(app: Litestar) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(app.openapi_schema.to_schema()))
    _write_out(document)
    for item in document["paths"].values():
        for method, operation in item.items():
            if method in METHODS:
                _finish(operation)
    renamed: dict[str, Any] = _renamed(document)
    return renamed


def _write_out(document: dict[str, Any]) -> None:
    schemas, paths = document["components"]["schemas"], msgspec.json.encode(document["paths"]).decode()
    for name, type_ in WRITTEN_OUT.items():
        if SCHEMAS + name not in paths:
            continue
        _, found = msgspec.json.schema_components([type_], ref_template=SCHEMAS + "{name}")
        schemas[name] = found.pop(type_.__name__) | {"title": name}
        for other, schema in found.items():
            schemas.setdefault(other, schema)


def _finish(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "401" in responses:
        operation["security"] = [{"key": []}]
    for parameter in operation.get("parameters", ()):
        _finish_parameter(parameter)
    for response in responses.values():
        for each in response.get("headers", {}).values():
            each.pop("required", None)
            each.setdefault("schema", {"type": "string"})


def _finish_parameter(parameter: dict[str, Any]) -> None:
    """What may be left out cannot be null: a query and a header know only text."""
    schema = parameter.setdefault("schema", {"type": "string"})
    schema.pop("description", None)
    options = [option for option in schema.pop("oneOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        schema.update(options[0])
    elif options:
        schema["oneOf"] = options
    if isinstance(schema.get("type"), list):
        schema["type"] = next(kind for kind in schema["type"] if kind != "null")
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]


def _renamed(value: Any) -> Any:
    """A copy without noise, in which schemas are called what a reader of the API would call them."""
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    if isinstance(value, str) and value.startswith(SCHEMAS):
        return SCHEMAS + _name(value.removeprefix(SCHEMAS))
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if _NOISE.get(key, ...) is not item}
    return {_name(key): _renamed(item) for key, item in kept.items()}


def _name(name: str) -> str:
    plain = _LISTING.sub(r"\1List", name)
    return RENAMED.get(plain, plain)

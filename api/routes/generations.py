"""Asking for images, and looking what became of them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from litestar import Response, Router, get, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency, Provide
from litestar.openapi.spec import Example, Operation
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from api import answers, authentication, etags, guards, openapi, pagination, streams, waiting
from api.dependencies import Resources, resources_of
from api.errors import CursorInvalid, ParameterInvalid
from api.idempotency import REPLAYED, key_of
from api.pagination import CursorParameter, Limit, Listing
from api.parameters import IdempotencyKey, IfNoneMatch, LastEventId, Prefer
from api.requests import Request
from api.responses import Ready
from domain.api_keys.keys import Caller
from domain.events.errors import PositionExpired
from domain.generations import acceptance, lifecycle, reading
from domain.generations.errors import (
    EngineUnknown,
    GenerationNotFound,
    GenerationOver,
    InstallationBacklogged,
    OrganizationBacklogged,
    RequestInvalid,
)
from domain.generations.models import OPEN
from domain.generations.views import GenerationView, Status
from domain.idempotency.keys import Key
from domain.subscriptions.errors import InsufficientCredits
from domain.templates.errors import InputInvalid, OutputInvalid, TemplateNotFound
from runtime import clock, failpoints
from runtime.database import Transaction
from runtime.telemetry import tracing

PATH: Final = "/v1/generations"


@dataclass
class AcceptOperation(Operation):
    """What Litestar would say by itself of a handler that took the body and the headers as arguments."""

    def __post_init__(self) -> None:
        self.parameters = [openapi.header(IdempotencyKey), openapi.header(Prefer)]
        self.request_body = openapi.body("GenerationRequest", EXAMPLES)


EXAMPLES: Final = {
    "prompt": Example(summary="The shortest one", value={"prompt": "Autumn sale: everything must go"}),
    "template": Example(
        summary="A template with its input",
        value={
            "template": "badge",
            "input": {"label": "A+"},
            "output": {"format": "png"},
            "metadata": {"order": "1"},
        },
    ),
}


EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)


class _Id(msgspec.Struct):
    id: str


_id_of = msgspec.json.Decoder(_Id)

Moment = Annotated[datetime | None, QueryParameter(description="RFC 3339, with a time zone.")]


async def _wanted(
    status: Annotated[Status | None, QueryParameter(description="Only those that are so now.")] = None,
    project: Annotated[str | None, QueryParameter(description="Only those of this project.")] = None,
    created_after: Moment = None,
    created_before: Moment = None,
) -> reading.Filter:
    """Raises ParameterInvalid."""
    for name, moment in (("created_after", created_after), ("created_before", created_before)):
        if moment and moment.tzinfo is None:
            raise ParameterInvalid(f"{name} needs a time zone")
        if moment and not EARLIEST < moment < LATEST:
            raise ParameterInvalid(f"{name} is no time of any generation")
    return reading.Filter(status=status, project=project, created_after=created_after, created_before=created_before)


@post(
    "/",
    status_code=202,
    before_request=guards.demands("generations:write"),
    operation_class=AcceptOperation,
    summary="Ask for an image",
    description="Accepts the request for good: once this has answered, the image will be made, or its failure told, "
    "whatever breaks. Credits are held now and charged with the image. Asked with `Prefer: wait=n`, the answer is 200 "
    "with the generation at its end, or 202 when it takes longer.",
    response_headers=[ResponseHeader("Location", description="Where the generation is.", documentation_only=True)],
    responses=answers.creating(
        InsufficientCredits,
        EngineUnknown,
        RequestInvalid,
        TemplateNotFound,
        InputInvalid,
        OutputInvalid,
        OrganizationBacklogged,
        InstallationBacklogged,
    ),
)
async def accept(request: Request) -> Response[GenerationView]:
    # The hottest route takes nothing but the request: what Litestar injects would cost a third of it.
    resources, caller = resources_of(request), authentication.caller_of(request.scope)
    checked = acceptance.check(await request.decode(acceptance.Request))
    accepted = await _accept(resources, caller, checked, await key_of(request, caller))
    return await _answer(request, resources, caller, accepted)


@get(
    "/",
    guards=[guards.requires("generations:read")],
    dependencies={"wanted": Provide(_wanted)},
    summary="List generations",
    responses=answers.reading(CursorInvalid),
)
async def index(
    tx: NamedDependency[Transaction],
    resources: NamedDependency[Resources],
    wanted: NamedDependency[reading.Filter],
    cursor: CursorParameter = None,
    limit: Limit = pagination.USUAL,
) -> Listing[GenerationView]:
    request = pagination.wanted(cursor, limit, PATH, wanted)
    return pagination.listing(await reading.page(tx, wanted, request, urls=resources.urls), PATH, wanted)


@get(
    "/{generation_id:str}",
    guards=[guards.requires("generations:read")],
    summary="Look at a generation",
    response_headers=[ResponseHeader("ETag", description="Changes with the generation.", documentation_only=True)],
    responses=answers.reading(GenerationNotFound),
)
async def show(
    generation_id: FromPath[str],
    tx: NamedDependency[Transaction],
    resources: NamedDependency[Resources],
    if_none_match: IfNoneMatch = None,
) -> Response[GenerationView]:
    view = await reading.one(tx, generation_id, resources.urls)
    tag = _tag(view, resources.settings.asset_url_ttl)
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if etags.matches(if_none_match, tag):
        return etags.not_modified(headers)
    return Response(view, headers=headers)


@post(
    "/{generation_id:str}/cancel",
    status_code=200,
    guards=[guards.requires("generations:write")],
    summary="Cancel a generation",
    description="What is not finished is stopped, and its credits are given back. Doing it twice is fine.",
    responses=answers.reading(GenerationNotFound, GenerationOver),
)
async def cancel(
    generation_id: FromPath[str],
    tx: NamedDependency[Transaction],
    caller: NamedDependency[Caller],
    resources: NamedDependency[Resources],
) -> GenerationView:
    trace = tracing.current_traceparent()
    await lifecycle.cancel(tx, caller.organization_id, generation_id, by="caller", traceparent=trace)
    return await reading.one(tx, generation_id, resources.urls)


@get(
    "/{generation_id:str}/stream",
    guards=[guards.requires("generations:read")],
    media_type="text/event-stream",
    summary="Follow a generation",
    description="Server-sent events: `snapshot` with the generation as it is, then every event about it as "
    '`{"event": …, "generation": …}`, until it has ended. Answers 204 to a client that comes back after the end.',
    responses=answers.reading(GenerationNotFound, PositionExpired),
)
async def stream(
    generation_id: FromPath[str],
    resources: NamedDependency[Resources],
    caller: NamedDependency[Caller],
    last_event_id: LastEventId = None,
) -> Response[str] | Stream:
    position = streams.position_of(last_event_id)
    if await streams.is_over(resources, caller.organization_id, generation_id, position):
        return Response("", status_code=204)
    return streams.respond(streams.of_generation(resources, caller.organization_id, generation_id, position))


async def _accept(
    resources: Resources, caller: Caller, checked: acceptance.Checked, key: Key | None
) -> acceptance.Accepted:
    accepted = await resources.reception.accept(
        caller.organization_id,
        checked,
        key=key,
        traceparent=tracing.current_traceparent(),
        api_key=caller.key_id,
    )
    failpoints.hit("api.after_commit")
    if accepted.task is None:
        resources.nudge.send()
    else:  # the relay's step would only be in the way of what is being done
        resources.nudge.send_later()
    return accepted


async def _answer(request: Request, resources: Resources, caller: Caller, accepted: acceptance.Accepted) -> Ready:
    """What was accepted; or how it is at its end, where the caller would rather wait."""
    seconds = waiting.preferred(request.fields.get(b"prefer", b"").decode("latin-1"))
    if not seconds:
        return _accepted(accepted.body, 202, replayed=accepted.replayed)
    generation_id = _id_of.decode(accepted.body).id
    view = await waiting.until_ended(resources, caller.organization_id, generation_id, seconds)
    answer = _accepted(msgspec.json.encode(view), 202 if view.status in OPEN else 200, replayed=accepted.replayed)
    answer.add(b"preference-applied", b"wait=%d" % seconds)
    return answer


def _accepted(body: bytes, status: int, *, replayed: bool) -> Ready:
    answer = Ready(body, status)
    answer.add(b"location", f"{PATH}/{_id_of.decode(body).id}".encode())
    if replayed:
        answer.add(REPLAYED.encode(), b"true")
    return answer


def _tag(view: GenerationView, url_ttl: int) -> str:
    """Addresses are signed anew at each look and say nothing; but a copy must not outlive half of their time."""
    assets = [msgspec.structs.replace(asset, url="") for asset in view.assets]
    age = int(clock.machine().timestamp()) // max(1, url_ttl // 2) if assets else 0
    return etags.weak((msgspec.structs.replace(view, assets=assets), age))


router = Router(PATH, route_handlers=[accept, index, show, cancel, stream], tags=["Generations"])

"""Where customers want to hear of events, and what was sent there."""

from datetime import timedelta
from typing import Annotated, Final

from litestar import Response, Router, delete, get, patch, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from api import answers, guards, pagination, revisions
from api.dependencies import Resources
from api.errors import CursorInvalid
from api.idempotency import Once
from api.pagination import CursorParameter, Limit, Listing
from api.parameters import IdempotencyKey
from api.revisions import IfMatch
from api.schemas.webhooks import EndpointWithSecret, Rotation, TestSent
from domain.api_keys.keys import Caller
from domain.errors import PreconditionFailed
from domain.webhooks import deliveries, endpoints, errors, history
from domain.webhooks.endpoints import Change, Draft, Endpoint
from domain.webhooks.history import DeliveryDetail, DeliveryStatus, DeliveryView, Filter
from runtime.database import Transaction
from runtime.telemetry import tracing

ENDPOINTS: Final = "/v1/webhook-endpoints"
DELIVERIES: Final = "/v1/deliveries"
READS: Final = [guards.requires("webhooks:read")]
WRITES: Final = [guards.requires("webhooks:write")]

_ETAG = ResponseHeader("ETag", description="Of this revision, for `If-Match`.", documentation_only=True)


@post(
    "/",
    status_code=201,
    guards=WRITES,
    summary="Make a webhook endpoint",
    description="The answer shows the secret that webhooks are signed with, this once.",
    responses=answers.creating(
        errors.EndpointUrlRefused, errors.EventTypeUnknown, errors.SecretMalformed, errors.TooManyEndpoints
    ),
)
async def create(
    *,
    data: JSONBody[Draft],
    tx: NamedDependency[Transaction],
    once: NamedDependency[Once],
    caller: NamedDependency[Caller],
    resources: NamedDependency[Resources],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `once`; here for the documentation
) -> Response[EndpointWithSecret]:
    async def effect() -> EndpointWithSecret:
        made = await endpoints.create(
            tx, caller.organization_id, data, keyring=resources.keyring, settings=resources.settings
        )
        return EndpointWithSecret.of(made)

    return await once.answer(effect)


@get("/", guards=READS, summary="List webhook endpoints", responses=answers.reading(CursorInvalid))
async def index(
    *,
    tx: NamedDependency[Transaction],
    caller: NamedDependency[Caller],
    cursor: CursorParameter = None,
    limit: Limit = pagination.USUAL,
) -> Listing[Endpoint]:
    page = await endpoints.page(tx, caller.organization_id, pagination.wanted(cursor, limit, ENDPOINTS))
    return pagination.listing(page, ENDPOINTS)


@get(
    "/{endpoint_id:str}",
    guards=READS,
    summary="Show a webhook endpoint",
    response_headers=[_ETAG],
    responses=answers.reading(errors.EndpointNotFound),
)
async def show(
    endpoint_id: FromPath[str], tx: NamedDependency[Transaction], caller: NamedDependency[Caller]
) -> Response[Endpoint]:
    return _tagged(await endpoints.get(tx, caller.organization_id, endpoint_id))


@patch(
    "/{endpoint_id:str}",
    guards=WRITES,
    summary="Change a webhook endpoint",
    description="Only what is given is changed. `status` disables and enables it.",
    response_headers=[_ETAG],
    responses=answers.changing(
        errors.EndpointNotFound, errors.EndpointUrlRefused, errors.EventTypeUnknown, PreconditionFailed
    ),
)
async def change(
    *,
    endpoint_id: FromPath[str],
    data: JSONBody[Change],
    tx: NamedDependency[Transaction],
    caller: NamedDependency[Caller],
    resources: NamedDependency[Resources],
    if_match: IfMatch = None,
) -> Response[Endpoint]:
    wanted = revisions.named(if_match)
    after = await endpoints.change(
        tx, caller.organization_id, endpoint_id, data, revisions=wanted, settings=resources.settings
    )
    return _tagged(after)


@delete(
    "/{endpoint_id:str}",
    guards=WRITES,
    summary="Delete a webhook endpoint",
    description="Nothing is sent to it any more. Its deliveries and their attempts are taken away soon after.",
    responses=answers.reading(errors.EndpointNotFound),
)
async def remove(endpoint_id: FromPath[str], tx: NamedDependency[Transaction], caller: NamedDependency[Caller]) -> None:
    await endpoints.remove(tx, caller.organization_id, endpoint_id)


@post(
    "/{endpoint_id:str}/rotate-secret",
    status_code=200,
    guards=WRITES,
    summary="Change the secret of a webhook endpoint",
    description="Both secrets sign until the grace is over. The answer shows the new one, this once.",
    responses=answers.creating(errors.EndpointNotFound, errors.SecretMalformed),
)
async def rotate_secret(
    *,
    endpoint_id: FromPath[str],
    tx: NamedDependency[Transaction],
    once: NamedDependency[Once],
    caller: NamedDependency[Caller],
    resources: NamedDependency[Resources],
    data: JSONBody[Rotation | None] = None,
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `once`; here for the documentation
) -> Response[EndpointWithSecret]:
    wanted = data or Rotation()
    grace = timedelta(seconds=wanted.grace_seconds)

    async def effect() -> EndpointWithSecret:
        rotated = await endpoints.rotate(
            tx, caller.organization_id, endpoint_id, keyring=resources.keyring, secret=wanted.secret, grace=grace
        )
        return EndpointWithSecret.of(rotated)

    return await once.answer(effect, status=200)


@post(
    "/{endpoint_id:str}/test",
    status_code=202,
    guards=WRITES,
    summary="Send a test to a webhook endpoint",
    description="A `webhook_endpoint.tested` is delivered to this endpoint alone, whatever types it names.",
    responses=answers.creating(errors.EndpointNotFound, errors.EndpointDisabled),
)
async def send_test(
    *,
    endpoint_id: FromPath[str],
    tx: NamedDependency[Transaction],
    once: NamedDependency[Once],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `once`; here for the documentation
) -> Response[TestSent]:
    async def effect() -> TestSent:
        traceparent = tracing.current_traceparent()
        return TestSent(await endpoints.send_test(tx, caller.organization_id, endpoint_id, traceparent=traceparent))

    return await once.answer(effect, status=202)


@get("/", guards=READS, summary="List deliveries", responses=answers.reading(CursorInvalid))
async def list_deliveries(
    *,
    tx: NamedDependency[Transaction],
    caller: NamedDependency[Caller],
    endpoint_id: Annotated[str | None, QueryParameter(description="Only those to this endpoint.")] = None,
    event_id: Annotated[str | None, QueryParameter(description="Only those of this event.")] = None,
    event_type: Annotated[str | None, QueryParameter(description="Only those of this type of event.")] = None,
    status: Annotated[DeliveryStatus | None, QueryParameter(description="Only those that are so now.")] = None,
    cursor: CursorParameter = None,
    limit: Limit = pagination.USUAL,
) -> Listing[DeliveryView]:
    only = Filter(endpoint_id=endpoint_id, event_id=event_id, event_type=event_type, status=status)
    wanted = pagination.wanted(cursor, limit, DELIVERIES, only)
    return pagination.listing(await history.page(tx, caller.organization_id, wanted, only), DELIVERIES, only)


@get(
    "/{delivery_id:str}",
    guards=READS,
    summary="Show a delivery with its attempts",
    responses=answers.reading(errors.DeliveryNotFound),
)
async def show_delivery(
    delivery_id: FromPath[str], tx: NamedDependency[Transaction], caller: NamedDependency[Caller]
) -> DeliveryDetail:
    return await history.get(tx, caller.organization_id, delivery_id)


@post(
    "/{delivery_id:str}/replay",
    status_code=202,
    guards=WRITES,
    summary="Send a delivery again",
    description="The same bytes under the same `webhook-id`, on a new schedule.",
    responses=answers.creating(errors.DeliveryNotFound, errors.DeliveryPending, errors.EndpointDisabled),
)
async def replay_delivery(
    *,
    delivery_id: FromPath[str],
    tx: NamedDependency[Transaction],
    once: NamedDependency[Once],
    caller: NamedDependency[Caller],
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - read by `once`; here for the documentation
) -> Response[DeliveryDetail]:
    async def effect() -> DeliveryDetail:
        await deliveries.replay(tx, caller.organization_id, delivery_id, traceparent=tracing.current_traceparent())
        return await history.get(tx, caller.organization_id, delivery_id)

    return await once.answer(effect, status=202)


def _tagged(endpoint: Endpoint) -> Response[Endpoint]:
    return Response(endpoint, headers={"etag": revisions.tag(endpoint.revision)})


router = Router(
    "/v1",
    route_handlers=[
        Router("/webhook-endpoints", route_handlers=[create, index, show, change, remove, rotate_secret, send_test]),
        Router("/deliveries", route_handlers=[list_deliveries, show_delivery, replay_delivery]),
    ],
    tags=["Webhooks"],
)

"""The operators' API: dead letters, and bulk operations on them."""

from typing import Annotated, Final, Literal

import msgspec
from litestar import Router, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, HeaderParameter, JSONBody

from api import answers, pagination
from api.dependencies import Resources
from api.errors import CursorInvalid
from api.operator import access, desk, snapshots
from api.pagination import CursorParameter, Limit, Listing
from api.requests import Request
from domain.dead_letters import letters, operations
from domain.dead_letters.errors import BulkOperationNotFound, BulkOperationOver
from domain.dead_letters.letters import Filter, Letter
from domain.dead_letters.operations import Operation, Wanted
from domain.generations.errors import GenerationNotReplayable
from domain.idempotency import keys
from domain.subscriptions.errors import InsufficientCredits
from domain.tasks.errors import DeadLetterNotFound, DeadLetterNotReplayable
from domain.webhooks.errors import DeliveryNotFound, DeliveryPending, EndpointDisabled
from runtime.database import SystemTransaction

REFUSALS: Final = (
    DeadLetterNotFound, DeadLetterNotReplayable, GenerationNotReplayable, InsufficientCredits, DeliveryNotFound,
    DeliveryPending, EndpointDisabled,
)  # fmt: skip
OPERATIONS: Final = "bulk_operations"


OperationKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="1 to 255 printable characters of your choice. The same request under the same key starts one "
        "operation; repeating it answers that operation as it is by then.",
    ),
]


class Decision(msgspec.Struct, frozen=True):
    """`id` is the task's number."""

    id: int
    decision: Literal["replayed", "discarded"]


class Discard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The reason is kept in the audit trail."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


@get("/", summary="List dead letters", responses=answers.operating(CursorInvalid))
async def index(
    *,
    only: NamedDependency[Filter],
    snapshot: NamedDependency[SystemTransaction],
    cursor: CursorParameter = None,
    limit: Limit = pagination.USUAL,
) -> Listing[Letter]:
    wanted = desk.numbered(pagination.wanted(cursor, limit, desk.LETTERS, only))
    return pagination.listing(await letters.page(snapshot, only, wanted), desk.LETTERS, only)


@get("/{task_id:int}", summary="Show a dead letter", responses=answers.operating(DeadLetterNotFound))
async def show(task_id: FromPath[int], snapshot: NamedDependency[SystemTransaction]) -> Letter:
    return await letters.get(snapshot, task_id)


@post(
    "/{task_id:int}/replay",
    status_code=200,
    summary="Replay a dead letter",
    description="Begins its work anew. What the domain refuses stays dead, and says why.",
    responses=answers.operating(*REFUSALS),
)
async def replay(task_id: FromPath[int], resources: NamedDependency[Resources]) -> Decision:
    await desk.replay(resources, task_id)
    return Decision(task_id, "replayed")


@post(
    "/{task_id:int}/discard",
    status_code=200,
    summary="Discard a dead letter",
    responses=answers.operating(DeadLetterNotFound, *answers.DECODED),
)
async def discard(task_id: FromPath[int], data: JSONBody[Discard], resources: NamedDependency[Resources]) -> Decision:
    await desk.discard(resources, task_id, data.reason)
    return Decision(task_id, "discarded")


@post(
    "/",
    status_code=202,
    summary="Start a bulk operation",
    description="Replays or discards, in the background and at a rate, all dead letters that fit the filter now.",
    responses=answers.operating(*answers.DECODED, *answers.ONCE),
)
async def start(
    request: Request,
    data: JSONBody[Wanted],
    resources: NamedDependency[Resources],
    idempotency_key: OperationKey = None,
) -> Operation:
    if idempotency_key is None:
        return await desk.start(resources, data)
    key = keys.read(idempotency_key, f"operator POST {request.scope['path']}", await request.body())
    return await desk.start(resources, data, await desk.operation_under(resources, key))


@get("/", summary="List bulk operations", responses=answers.operating(CursorInvalid))
async def operations_index(
    snapshot: NamedDependency[SystemTransaction], cursor: CursorParameter = None, limit: Limit = pagination.USUAL
) -> Listing[Operation]:
    wanted = pagination.wanted(cursor, limit, OPERATIONS)
    return pagination.listing(await operations.page(snapshot, wanted), OPERATIONS)


@get(
    "/{operation_id:str}",
    summary="Show a bulk operation and how far it has come",
    responses=answers.operating(BulkOperationNotFound),
)
async def show_operation(operation_id: FromPath[str], resources: NamedDependency[Resources]) -> Operation:
    return await desk.operation(resources, operation_id)


@post(
    "/{operation_id:str}/cancel",
    status_code=200,
    summary="Cancel a bulk operation",
    description="Within about a second nothing more is decided; what was decided stays so.",
    responses=answers.operating(BulkOperationNotFound, BulkOperationOver),
)
async def cancel(operation_id: FromPath[str], resources: NamedDependency[Resources]) -> Operation:
    return await desk.cancel(resources, operation_id)


router = Router(
    "/operator",
    route_handlers=[
        Router("/dead-letters", route_handlers=[index, show, replay, discard], tags=["Dead letters"]),
        Router(
            "/bulk-operations",
            route_handlers=[start, operations_index, show_operation, cancel],
            tags=["Bulk operations"],
        ),
    ],
    guards=[access.operator],
    dependencies={
        "only": Provide(desk.provide_filter),
        "snapshot": Provide(snapshots.provide_snapshot),
    },
)

"""The operator's page of dead letters, with its buttons, and the page of a bulk operation."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from api import pagination
from api.dependencies import Resources
from api.errors import ParameterInvalid
from api.operator import access, desk, rendering, routes, snapshots
from api.pagination import CursorParameter
from domain.api_keys.errors import KeyInvalid
from domain.dead_letters import letters, operations
from domain.dead_letters.letters import Filter
from domain.dead_letters.operations import QUICKEST, SLOWEST, Wanted
from domain.errors import DomainError
from domain.pages import PageRequest
from runtime import ids
from runtime.database import SystemTransaction

COUNT_CAP: Final = 10_000
LETTERS_SHOWN: Final = 50
OPERATIONS_SHOWN: Final = 5

AnyRequest = Request[Any, Any, Any]


@get("/dead-letters")
async def show_letters(
    only: NamedDependency[Filter],
    snapshot: NamedDependency[SystemTransaction],
    resources: NamedDependency[Resources],
    cursor: CursorParameter = None,
) -> Response[str]:
    return rendering.page(resources.settings, "dead_letters", await _listed(snapshot, only, cursor))


@get("/bulk-operations/{operation_id:str}")
async def show_operation(operation_id: FromPath[str], resources: NamedDependency[Resources]) -> Response[str]:
    """Raises BulkOperationNotFound."""
    found = await desk.operation(resources, operation_id)
    return rendering.page(resources.settings, "bulk_operation", {"operation": found, "said": "", "well": True})


@post("/dead-letters/{task_id:int}/replay", status_code=200)
async def replay(request: AnyRequest, task_id: FromPath[int], resources: NamedDependency[Resources]) -> Response[str]:
    deed = functools.partial(desk.replay, resources, task_id)
    return await _decided(request, resources, deed, f"Task {task_id} begins anew.")


@post("/dead-letters/{task_id:int}/discard", status_code=200)
async def discard(request: AnyRequest, task_id: FromPath[int], resources: NamedDependency[Resources]) -> Response[str]:
    reason = (await _given(request, "reason")).strip()[:500] or "none was given"
    deed = functools.partial(desk.discard, resources, task_id, reason)
    return await _decided(request, resources, deed, f"Task {task_id} is given up.")


@post("/dead-letters/all", status_code=200)
async def decide_all(request: AnyRequest, resources: NamedDependency[Resources]) -> Redirect:
    """Raises ParameterInvalid."""
    wanted, named = await _wanted(request), await _given(request, "operation")
    begun = await desk.start(resources, wanted, named if ids.is_id("blk", named) else None)
    return Redirect(f"/bulk-operations/{begun.id}", status_code=303)


@post("/bulk-operations/{operation_id:str}/cancel", status_code=200)
async def cancel(operation_id: FromPath[str], resources: NamedDependency[Resources]) -> Redirect:
    """Raises BulkOperationNotFound, BulkOperationOver."""
    await desk.cancel(resources, operation_id)
    return Redirect(f"/bulk-operations/{operation_id}", status_code=303)


async def confirm(request: AnyRequest) -> Response[str] | None:
    """Before a button's request: who sends neither token nor ticket is asked for the token, and sends it all again."""
    try:
        if await access.may_decide(request):
            return None
        wrong = False
    except KeyInvalid:
        wrong = True
    given = [(name, value) for name, value in (await request.form()).multi_items() if isinstance(value, str)]
    fields = [(name, value) for name, value in given if name not in (access.PARAMETER, access.TICKET)]
    deed = request.url.path.rpartition("/")[2].replace("all", dict(fields).get("action", "")).capitalize()
    context = {"path": access.here(request), "fields": fields, "wrong": wrong, "deed": deed}
    settings = request.app.state.resources.settings
    return rendering.page(settings, "confirm", context, status=401, headers={"www-authenticate": "Bearer"})


async def _decided(
    request: AnyRequest, resources: Resources, deed: Callable[[], Awaitable[None]], told: str
) -> Response[str]:
    """The list again, with what came of it, and with a ticket for the next button."""
    well, only = True, await _filter(request)
    try:
        await deed()
    except DomainError as refusal:
        well, told = False, refusal.detail
    async with snapshots.opened(resources) as snapshot:
        listed = await _listed(snapshot, only)
    context = listed | {"said": told, "well": well, "ticket": access.ticket(request)}
    return rendering.page(resources.settings, "dead_letters", context)


async def _listed(tx: SystemTransaction, only: Filter, cursor: str | None = None) -> dict[str, object]:
    wanted = desk.numbered(pagination.wanted(cursor, LETTERS_SHOWN, desk.LETTERS, only))
    found = await letters.page(tx, only, wanted)
    older = pagination.listing(found, desk.LETTERS, only).next_cursor
    named = msgspec.to_builtins(only)
    return {
        "only": only,
        "filtered": bool(named),
        "filter": msgspec.json.encode(only).decode(),
        "query": f"?{urlencode(named)}" if named else "",
        "count": await letters.count(tx, only, cap=COUNT_CAP),
        "cap": COUNT_CAP,
        "letters": found.items,
        "older": f"?{urlencode(named | {'cursor': older})}" if older else "",
        "operations": (await operations.page(tx, PageRequest(OPERATIONS_SHOWN))).items,
        "fresh": {action: ids.new("blk") for action in ("replay", "discard")},
        "slowest": SLOWEST,
        "quickest": QUICKEST,
        "said": "",
        "well": True,
        "ticket": "",
    }


async def _given(request: AnyRequest, name: str) -> str:
    return str((await request.form()).get(name, ""))


async def _filter(request: AnyRequest) -> Filter:
    """Raises ParameterInvalid."""
    try:
        return msgspec.json.decode(await _given(request, "filter") or "{}", type=Filter)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise ParameterInvalid(f"filter: {error}") from None


async def _wanted(request: AnyRequest) -> Wanted:
    """Raises ParameterInvalid."""
    given = {name: await _given(request, name) for name in ("action", "rate", "reason")}
    try:
        return msgspec.convert({**given, "filter": await _filter(request)}, Wanted, strict=False)
    except msgspec.ValidationError as error:
        raise ParameterInvalid(str(error)) from None


looking = Router(
    "/",
    route_handlers=[show_letters, show_operation],
    guards=[access.operator],
    before_request=access.exchange,
    dependencies={"only": Provide(desk.provide_filter), "snapshot": Provide(snapshots.provide_snapshot)},
    exception_handlers=routes.HANDLERS,
    include_in_schema=False,
)
deciding = Router(
    "/",
    route_handlers=[replay, discard, decide_all, cancel],
    before_request=confirm,
    exception_handlers=routes.HANDLERS,
    include_in_schema=False,
)

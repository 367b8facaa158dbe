"""The operator's pages: the overview, and the trail of each generation."""

from typing import Annotated, Any, Final

from litestar import Request, Response, Router, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect
from litestar.types import ExceptionHandlersMap

from api import problems
from api.dependencies import Resources
from api.operator import access, overview, rendering, search, snapshots, timeline, trail, waterfall
from api.operator.trail import Trail
from domain.errors import DomainError, NotFound, Unauthenticated
from domain.generations.errors import GenerationNotFound
from domain.generations.models import OPEN
from runtime import clock
from runtime.database import SystemTransaction

JSON: Final = ".json"
KEPT: Final = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}


@get("/")
async def show_overview(
    snapshot: NamedDependency[SystemTransaction], resources: NamedDependency[Resources]
) -> Response[str]:
    found = await overview.read(snapshot)
    return rendering.page(resources.settings, "overview", {"overview": found, "cap": overview.COUNT_CAP})


@get("/trail")
async def find_trail(
    snapshot: NamedDependency[SystemTransaction],
    resources: NamedDependency[Resources],
    generation: Annotated[str, QueryParameter(description="Its id or a delivery's, or how it begins.")] = "",
) -> Redirect | Response[str]:
    """Where the search field leads. Raises GenerationNotFound."""
    wanted = generation.strip()
    found = await search.by_id(snapshot, wanted) if wanted.isascii() and wanted.replace("_", "").isalnum() else []
    if len(found) == 1 and found[0].trail:
        return Redirect(found[0].trail, status_code=303)
    if not found:
        raise GenerationNotFound
    return rendering.page(resources.settings, "search", {"beginning": wanted, "found": found, "most": search.MOST})


@get("/trail/{name:str}")
async def show_trail(
    name: FromPath[str], snapshot: NamedDependency[SystemTransaction], resources: NamedDependency[Resources]
) -> Response[Any]:
    """`gen_….json` is the same as JSON. Raises GenerationNotFound."""
    found = await trail.read(snapshot, name.removesuffix(JSON), resources.urls)
    if name.endswith(JSON):
        return Response(found, headers=rendering.guarded(resources.settings))
    return rendering.page(resources.settings, "trail", _shown(found, resources))


@get("/operator.css", media_type="text/css")
async def style() -> Response[bytes]:
    return Response(rendering.STYLE, headers=KEPT)


@get("/icon.svg", media_type="image/svg+xml")
async def icon() -> Response[bytes]:
    return Response(rendering.ICON, headers=KEPT)


def _shown(found: Trail, resources: Resources) -> dict[str, object]:
    now_ms = (clock.machine() - found.accepted_at).total_seconds() * 1000
    retention_days = resources.settings.task_retention_days
    drawn = waterfall.draw(found, now_ms)
    return {
        "trail": found,
        "moments": timeline.moments(found),
        "waterfall": drawn,
        "doings": waterfall.doings(drawn),
        "deliveries": {delivery.id: delivery for delivery in found.deliveries},
        "open": found.generation.status in OPEN,
        "retention_days": retention_days,
        "pruned": not found.tasks and now_ms > retention_days * 86_400_000,
    }


def _refused(request: Request[Any, Any, Any], refusal: DomainError) -> Response[Any]:
    """A page for a person's browser; for all others a problem, as in the API."""
    named = {Unauthenticated: "unauthenticated", NotFound: "not_found"}
    name = next((page for kind, page in named.items() if isinstance(refusal, kind)), None)
    if name is None or "text/html" not in request.headers.get("accept", ""):
        return problems.respond(request.scope, refusal)
    context = {"refusal": refusal, "path": access.here(request)}
    settings = request.app.state.resources.settings
    status = problems.status_of(type(refusal))
    return rendering.page(settings, name, context, status=status, headers=problems.headers(refusal))


HANDLERS: Final[ExceptionHandlersMap] = {DomainError: _refused}

plain = Router("/", route_handlers=[style, icon], include_in_schema=False)
pages = Router(
    "/",
    route_handlers=[show_overview, find_trail, show_trail],
    guards=[access.operator],
    before_request=access.exchange,
    include_in_schema=False,
    dependencies={"snapshot": Provide(snapshots.provide_snapshot)},
    exception_handlers=HANDLERS,
)

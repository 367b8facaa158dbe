"""The operator's port: metrics, health, and what only the operator may see. Never to be reached from outside."""

from litestar import Litestar, Response, Router, get
from litestar.datastructures import State

from api import health, problems
from api.dependencies import PROVIDERS, Resources
from api.operator import access, routes
from api.requests import Request
from runtime.telemetry import metrics


@get("/metrics", include_in_schema=False)
async def show_metrics() -> Response[bytes]:
    return Response(metrics.render(), headers={"content-type": metrics.CONTENT_TYPE})


def create_operator_app(resources: Resources, *guarded: Router) -> Litestar:
    """`guarded`: routers whose handlers show or change what is customers' own; they ask for the operator's token."""
    inside = Router("/", route_handlers=list(guarded), guards=[access.operator])
    return Litestar(
        route_handlers=[show_metrics, health.router, routes.plain, routes.pages, inside],
        dependencies={"resources": PROVIDERS["resources"]},
        exception_handlers=problems.HANDLERS,
        request_class=Request,
        state=State({"resources": resources}),
        openapi_config=None,
        logging_config=None,
    )

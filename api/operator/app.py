"""The operator's port: metrics, health, and what only the operator may see. Never to be reached from outside."""

from litestar import Litestar, Response, get
from litestar.datastructures import State

from api import documentation, health, problems
from api.dependencies import PROVIDERS, Resources
from api.operator import dead_letters, letter_pages, routes, support
from api.requests import Request
from runtime.telemetry import metrics

LARGEST_BODY = 64 * 1024


@get("/metrics", include_in_schema=False)
async def show_metrics() -> Response[bytes]:
    return Response(metrics.render(), headers={"content-type": metrics.CONTENT_TYPE})


def create_operator_app(resources: Resources) -> Litestar:
    return Litestar(
        route_handlers=[
            show_metrics,
            health.router,
            routes.plain,
            routes.pages,
            letter_pages.looking,
            letter_pages.deciding,
            dead_letters.router,
            support.router,
        ],
        dependencies={"resources": PROVIDERS["resources"]},
        exception_handlers=problems.HANDLERS,
        request_class=Request,
        state=State({"resources": resources}),
        request_max_body_size=LARGEST_BODY,
        openapi_config=documentation.config_for_operators(),
        logging_config=None,
    )

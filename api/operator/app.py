"""The operator's port: metrics, health, and what only the operator may see. Never to be reached from outside."""

from litestar import Litestar, Response, get
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api import documentation, edge, health, openapi, problems
from api.dependencies import PROVIDERS, Resources
from api.operator import dead_letters, letter_pages, routes, support
from api.requests import Request
from runtime.telemetry import logs, metrics

LARGEST_BODY = 64 * 1024


@get("/metrics", include_in_schema=False)
async def show_metrics() -> Response[bytes]:
    return Response(metrics.render(), headers={"content-type": metrics.CONTENT_TYPE})


class Named:
    """Gives each request its id, in the log, in problems and in the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        request_id = scope["state"]["request_id"] = edge.request_id_of(dict(scope["headers"]))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        with logs.bound(request_id=request_id):
            await self._app(scope, receive, answer)


def create_operator_app(resources: Resources) -> Litestar:
    app = Litestar(
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
        openapi_config=documentation.config(openapi.OPERATORS),
        logging_config=None,
    )
    app.asgi_handler = Named(app.asgi_handler)
    return app

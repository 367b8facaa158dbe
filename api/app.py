"""The API: the one place where routes, dependencies and handlers meet."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from litestar import Litestar
from litestar.datastructures import State

from api import documentation, health, openapi, problems
from api.authentication import Authenticator
from api.dependencies import PROVIDERS, Resources
from api.edge import Edge
from api.rate_limits import RateLimits
from api.requests import Request
from api.retries import Retries
from api.routes import api_keys, assets, events, files, generations, subscriptions, templates, webhooks
from api.shortcut import Shortcut
from domain.api_keys.events import ApiKeyRevoked

ROUTERS = (
    generations.router,
    events.router,
    templates.router,
    subscriptions.router,
    api_keys.router,
    webhooks.router,
    files.router,
    assets.router,
    health.router,
    documentation.router,
)
LARGEST_BODY = 1024 * 1024
"""Bytes; a route may say otherwise (`request_max_body_size`)."""


def create_app(resources: Resources) -> Litestar:
    authenticator = Authenticator(resources.database)
    resources.hub.on_event(ApiKeyRevoked.type, authenticator.forget)

    @contextlib.asynccontextmanager
    async def noting_uses(_: Litestar) -> AsyncGenerator[None, None]:
        task = asyncio.create_task(authenticator.keep_noting_uses())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await authenticator.note_uses()

    app = Litestar(
        route_handlers=ROUTERS,
        dependencies=PROVIDERS,
        exception_handlers=problems.HANDLERS,
        request_class=Request,
        request_max_body_size=LARGEST_BODY,
        state=State({"resources": resources}),
        lifespan=[noting_uses],
        openapi_config=documentation.config(openapi.CUSTOMERS),
        logging_config=None,
    )
    edge = Edge(
        Retries(Shortcut(app, generations.PATH)),
        authenticator=authenticator,
        limits=RateLimits(),
        draining=resources.draining,
    )
    app.asgi_handler = edge
    return app

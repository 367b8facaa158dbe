"""Who may call: each handler under `/v1` names the scope that it asks for."""

from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import BeforeRequestHookHandler, Guard

from api import authentication
from domain.api_keys.errors import ScopeMissing


def requires(scope: str) -> Guard:
    """Raises Unauthenticated for a request without a valid key, ScopeMissing for a key without the scope."""

    async def guard(connection: ASGIConnection, _: BaseRouteHandler) -> None:  # type: ignore[type-arg]
        if scope not in authentication.caller_of(connection.scope).scopes:
            raise ScopeMissing(f"this API key lacks the scope {scope}")

    return guard


def demands(scope: str) -> BeforeRequestHookHandler:
    """The same as a hook, for the route that is called most: Litestar copies its handler for each guard."""

    async def check(request: Request[Any, Any, Any]) -> None:
        if scope not in authentication.caller_of(request.scope).scopes:
            raise ScopeMissing(f"this API key lacks the scope {scope}")

    return check


async def any_key(connection: ASGIConnection, _: BaseRouteHandler) -> None:  # type: ignore[type-arg]
    """For what every customer may see."""
    authentication.caller_of(connection.scope)

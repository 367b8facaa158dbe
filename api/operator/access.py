"""Who may use the operator's port: who has its token, as `Authorization: Bearer …`, or as `?token=…` for a browser."""

import hmac

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from domain.api_keys.errors import KeyInvalid, KeyMissing


async def operator(connection: ASGIConnection, _: BaseRouteHandler) -> None:  # type: ignore[type-arg]
    """Raises KeyMissing, KeyInvalid."""
    expected = connection.app.state.resources.settings.operator_token
    scheme, __, given = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        given = connection.query_params.get("token", "")
    if not given:
        raise KeyMissing("the operator's token is needed: Authorization: Bearer …, or ?token=…")
    if not expected or not hmac.compare_digest(given.strip().encode(), expected.encode()):
        raise KeyInvalid("this is not the operator's token")

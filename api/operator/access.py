"""Who may use the operator's port: who has its token. Programs send it as `Authorization: Bearer …`.

A browser brings it once, as `?token=…`. It is given a cookie for it and sent on to the same address without the token,
which so stays in no address bar, no history and no referrer. The cookie is not the token but made from it, as a browser
sends cookies to every port of a host; and it opens pages only: nothing can be changed with it. What a page's button
does takes the token once more, or the ticket for some minutes that the answer to such a request carries in its forms.
A page that is merely opened has no ticket: neither a cookie that got elsewhere nor a forged request changes anything.
"""

import hashlib
import hmac
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.handlers import BaseRouteHandler
from litestar.response import Redirect

from domain.api_keys.errors import KeyInvalid, KeyMissing
from runtime import clock

PARAMETER: Final = "token"
_READS: Final = frozenset({"GET", "HEAD"})

TICKET: Final = "ticket"
TICKET_SECONDS: Final = 900
_SAME: Final = frozenset({"same-origin", "none"})

Connection = ASGIConnection[Any, Any, Any, Any]


async def operator(connection: Connection, _: BaseRouteHandler) -> None:
    """Raises KeyMissing, KeyInvalid."""
    token = _token(connection)
    scheme, _space, given = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        given = connection.query_params.get(PARAMETER, "")
    if not given:
        if connection.scope["method"] in _READS and _has_cookie(connection, token):  # type: ignore[typeddict-item]
            return
        raise KeyMissing("the operator's token is needed: Authorization: Bearer …, or ?token=…")
    if not token or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise KeyInvalid("this is not the operator's token")


async def exchange(request: Request[Any, Any, Any]) -> Redirect | None:
    """After the guard: a token in the address becomes a cookie. The cookie ends with the browser's session."""
    if PARAMETER not in request.query_params:
        return None
    rest = urlencode([pair for pair in parse_qsl(request.url.query) if pair[0] != PARAMETER])
    path = here(request)
    name, value = _cookie(_token(request))
    secure = request.url.scheme == "https"
    cookie = Cookie(key=name, value=value, httponly=True, samesite="strict", secure=secure)
    return Redirect(
        f"{path}?{rest}" if rest else path,
        status_code=303,
        cookies=[cookie],
        headers={"cache-control": "no-store", "referrer-policy": "no-referrer"},
    )


async def may_decide(request: Request[Any, Any, Any]) -> bool:
    """Whether a form was sent with the token or a ticket. Raises KeyMissing for one from another site (Fetch Metadata),
    KeyInvalid for a wrong token.
    """
    if request.headers.get("sec-fetch-site", "none") not in _SAME:
        raise KeyMissing("this was sent from another site")
    form, token = await request.form(), _token(request)
    if given := str(form.get(PARAMETER, "")).strip():
        if not token or not hmac.compare_digest(given.encode(), token.encode()):
            raise KeyInvalid("this is not the operator's token")
        return True
    return _is_good(token, str(form.get(TICKET, "")))


def ticket(connection: Connection) -> str:
    """For the forms of a page that answers somebody who has just shown that he may decide."""
    return _ticket(_token(connection), int(clock.machine().timestamp()) + TICKET_SECONDS)


def _is_good(token: str, given: str) -> bool:
    until, _, _ = given.partition(".")
    if not token or not (until.isascii() and until.isdecimal()) or int(until) < clock.machine().timestamp():
        return False
    return hmac.compare_digest(given.encode(), _ticket(token, int(until)).encode())


def _ticket(token: str, until: int) -> str:
    return f"{until}.{hmac.new(token.encode(), f'decide until {until}'.encode(), hashlib.sha256).hexdigest()}"


def here(connection: Connection) -> str:
    """The address without its query; two slashes in front would be another host's."""
    return "/" + quote(connection.scope["path"].lstrip("/"))


def _token(connection: Connection) -> str:
    return str(connection.app.state.resources.settings.operator_token)


def _has_cookie(connection: Connection, token: str) -> bool:
    name, value = _cookie(token)
    return bool(token) and hmac.compare_digest(connection.cookies.get(name, "").encode(), value.encode())


def _cookie(token: str) -> tuple[str, str]:
    """Name and value. The name is the installation's own: two of them on one host must not take each other's."""
    name, value = (hmac.new(token.encode(), purpose, hashlib.sha256).hexdigest() for purpose in (b"name", b"pages"))
    return f"atelier_operator_{name[:8]}", value

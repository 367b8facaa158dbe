"""Stored objects under signed, expiring addresses: who has the link may read that object until then."""

import re
from typing import Final

from litestar import Response, Router, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream

from api import answers, etags
from api.dependencies import Resources
from api.errors import LinkExpired, LinkInvalid, RangeNotSatisfiable
from api.parameters import IfNoneMatch
from api.requests import Request
from domain.errors import NotFound
from runtime import clock
from storage.base import StoredObject
from storage.errors import ObjectNotFoundError, SignatureExpiredError, SignatureInvalidError
from storage.signing import Grant

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
ALWAYS: Final = {
    "accept-ranges": "bytes",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "cross-origin",
}


@route(
    "/{key:path}",
    http_method=["GET", "HEAD"],
    media_type="application/octet-stream",
    security=[],
    summary="Fetch an image",
    description="The address comes with the generation and carries its own permission. One range at a time.",
    responses=answers.public(LinkInvalid, LinkExpired, NotFound, RangeNotSatisfiable),
)
async def fetch(
    key: FromPath[str], request: Request, resources: NamedDependency[Resources], if_none_match: IfNoneMatch = None
) -> Response[bytes] | Stream:
    grant = _granted(resources, key.removeprefix("/"), request)
    found = await _found(resources, grant)
    headers = _headers(found, grant)
    if etags.matches(if_none_match, headers["etag"]):
        return etags.not_modified(headers)
    return _part(resources, request, found, headers)


def _granted(resources: Resources, key: str, request: Request) -> Grant:
    """Raises LinkInvalid, LinkExpired."""
    query = request.scope["query_string"].decode("latin-1")
    try:
        return resources.urls.verify(key, query, method=request.method)
    except SignatureExpiredError as error:
        raise LinkExpired(str(error)) from None
    except SignatureInvalidError:
        raise LinkInvalid from None


async def _found(resources: Resources, grant: Grant) -> StoredObject:
    try:
        return await resources.store.stat(grant.key)
    except ObjectNotFoundError:
        raise NotFound("this object is not there any more") from None


def _headers(found: StoredObject, grant: Grant) -> dict[str, str]:
    left = max(0, int((grant.expires_at - clock.machine()).total_seconds()))
    return ALWAYS | {
        "etag": f'"{found.sha256}"',
        "cache-control": f"private, max-age={left}, immutable",
        "content-disposition": grant.disposition or "inline",
        # as a header, because Litestar gives a stream the media type that the route documents
        "content-type": found.content_type,
    }


def _part(
    resources: Resources, request: Request, found: StoredObject, headers: dict[str, str]
) -> Response[bytes] | Stream:
    """The whole, or one range of bytes (RFC 9110, 14). Several ranges at once are answered with the whole."""
    span = _span(request, found, headers["etag"])
    start, end = span or (0, found.size)
    headers["content-length"] = str(end - start)
    if span:
        headers["content-range"] = f"bytes {start}-{end - 1}/{found.size}"
    status = 206 if span else 200
    if request.method == "HEAD":
        return Response(b"", status_code=status, headers=headers)
    content = resources.store.open(found.key, start, end)
    return Stream(content, status_code=status, headers=headers)


def _span(request: Request, found: StoredObject, tag: str) -> tuple[int, int] | None:
    """Start and end, as in a slice. Raises RangeNotSatisfiable."""
    wanted = _RANGE.fullmatch(request.headers.get("range", ""))
    if wanted is None or not any(wanted.groups()) or request.headers.get("if-range", tag) != tag:
        return None
    first, last = wanted.groups()
    if not first:
        start, end = max(0, found.size - int(last)), found.size
    else:
        start, end = int(first), min(int(last) + 1 if last else found.size, found.size)
    if start >= end:
        raise RangeNotSatisfiable(found.size)
    return start, end


router = Router("/assets", route_handlers=[fetch], tags=["Assets"])

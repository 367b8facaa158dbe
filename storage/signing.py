"""Signed, expiring addresses of objects: who has the link may read that object until then, and nothing else.

The signature is HMAC-SHA256 over method, key, expiry and content disposition, so a link to view can't be turned into
one to write, nor its file name be changed. Parameters that are not ours (`utm_…`, `fbclid`) are ignored: links are
passed around by programs that add them.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode

import msgspec

from runtime import clock
from storage import keys
from storage.errors import InvalidKeyError, SignatureExpiredError, SignatureInvalidError

_LABEL = "storage.signing.v1"


def secrets(setting: str) -> tuple[str, ...]:
    """Of `ATELIER_SIGNING_KEYS`: the one that signs, then those that links may still be signed with."""
    return tuple(filter(None, map(str.strip, setting.split(","))))


class Grant(msgspec.Struct, frozen=True):
    """What a verified address allows."""

    key: str
    expires_at: datetime
    disposition: str
    """The value of Content-Disposition to answer with; empty for none."""


def sign(key: str, *, secret: str, expires_at: datetime, method: str = "GET", disposition: str = "") -> str:
    """The query string, without its `?`. The expiry counts in whole seconds, rounded down.

    Raises InvalidKeyError, and ValueError for a disposition that could not be a header or a time without a zone.
    """
    if expires_at.tzinfo is None:
        raise ValueError("an expiry needs a time zone")
    if not disposition.isascii() or (disposition and not disposition.isprintable()):
        raise ValueError("a content disposition is printable ASCII (RFC 6266 has filename* for the rest)")
    expires = str(int(expires_at.timestamp()))
    query = {"expires": expires, "signature": _signature(secret, method, keys.check(key), expires, disposition)}
    return urlencode(query | ({"disposition": disposition} if disposition else {}))


def verify(key: str, query: str, *, secrets: Sequence[str], method: str = "GET") -> Grant:
    """`secrets`: the present one and, while links signed with them live, those before. HEAD is allowed where GET is.

    Raises SignatureExpiredError and SignatureInvalidError.
    """
    expires, disposition, signature = _read(query)
    try:
        keys.check(key)
    except InvalidKeyError:
        raise SignatureInvalidError from None
    signed_method = "GET" if method == "HEAD" else method
    matches = [
        hmac.compare_digest(_signature(secret, signed_method, key, expires, disposition), signature)
        for secret in secrets
    ]
    if not any(matches):
        raise SignatureInvalidError
    expires_at = datetime.fromtimestamp(int(expires), UTC)
    if expires_at <= clock.machine():
        raise SignatureExpiredError(f"this link ended at {clock.rfc3339(expires_at)}")
    return Grant(key, expires_at, disposition)


def _read(query: str) -> tuple[str, str, str]:
    values: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in values and name in {"expires", "disposition", "signature"}:
            raise SignatureInvalidError
        values[name] = value
    expires, disposition, signature = (values.get(name, "") for name in ("expires", "disposition", "signature"))
    if not (signature.isascii() and expires):
        raise SignatureInvalidError
    return expires, disposition, signature


def _signature(secret: str, method: str, key: str, expires: str, disposition: str) -> str:
    text = f"{_LABEL}\n{method}\n{key}\n{expires}\n{disposition}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()

"""Full, signed, expiring addresses under which the API serves objects."""

from datetime import timedelta
from urllib.parse import quote

import msgspec

from runtime import clock
from runtime.settings import Secret
from storage import signing


class ObjectUrls(msgspec.Struct, frozen=True, kw_only=True):
    """`base` is where the route that serves objects begins, for example `https://api.example.com/assets`."""

    base: str
    secret: Secret
    ttl: timedelta

    def sign(self, key: str) -> str:
        query = signing.sign(key, secret=self.secret, expires_at=clock.machine() + self.ttl)
        return f"{self.base}/{quote(key)}?{query}"

    def verify(self, key: str, query: str, *, method: str = "GET") -> signing.Grant:
        """Raises SignatureExpiredError and SignatureInvalidError."""
        return signing.verify(key, query, secrets=[self.secret], method=method)

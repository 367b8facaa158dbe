"""Full, signed, expiring addresses under which the API serves objects."""

from datetime import timedelta
from urllib.parse import quote

import msgspec

from runtime import clock
from storage import signing


class ObjectUrls(msgspec.Struct, frozen=True, kw_only=True):
    """`base` is where the route that serves objects begins, for example `https://api.example.com/assets`."""

    base: str
    secrets: tuple[str, ...]
    """The first signs, all verify (`signing.secrets`)."""
    ttl: timedelta

    def sign(self, key: str) -> str:
        query = signing.sign(key, secret=self.secrets[0], expires_at=clock.machine() + self.ttl)
        return f"{self.base}/{quote(key)}?{query}"

    def verify(self, key: str, query: str, *, method: str = "GET") -> signing.Grant:
        """Raises SignatureExpiredError and SignatureInvalidError."""
        return signing.verify(key, query, secrets=self.secrets, method=method)

"""From the key that a request carries to its caller: looked up by its hash, and remembered for seconds."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from litestar.types import Scope

from api import retries
from domain.api_keys import keys
from domain.api_keys.errors import KeyExpired, KeyInvalid, KeyMissing
from domain.api_keys.keys import Caller
from domain.errors import DomainError
from runtime import clock
from runtime.database import Database
from runtime.telemetry import logs
from runtime.wakeups import Moved

log = logs.logger(__name__)

KEPT: Final = 10.0
"""Seconds for which a key that was found counts without being looked up again."""
UNKNOWN_KEPT: Final = 2.0
MOST_KEPT: Final = 10_000
TOUCH_EVERY: Final = 30.0
NOTING: Final = 3.0
"""Seconds that it may take. A process that is told to stop waits for the last one."""
_UNSEEN: Final = (0.0, None)


class Authenticator:
    """The callers that this process has seen lately, by the hash of their keys."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[bytes, tuple[float, Caller | None]] = {}
        self._searches: dict[bytes, asyncio.Task[Caller | None]] = {}
        self._used: set[tuple[str, str]] = set()

    async def authenticate(self, key: str) -> Caller:
        """Raises KeyInvalid, KeyExpired."""
        digest = keys.digest(key)
        until, caller = self._kept.get(digest, _UNSEEN)
        if until < time.monotonic():
            caller = await retries.read(lambda: self._look_up(key, digest))
        if caller is None:
            raise KeyInvalid
        if caller.expires_at is not None and caller.expires_at <= clock.machine():
            raise KeyExpired
        self._used.add((caller.organization_id, caller.key_id))
        return caller

    def forget(self, revoked: Moved) -> None:
        """When a key was revoked somewhere, this process stops believing in it at once."""
        gone = [digest for digest, (_, caller) in self._kept.items() if caller and caller.key_id == revoked.subject]
        for digest in gone:
            del self._kept[digest]

    async def keep_noting_uses(self) -> None:
        """Writes `last used` down, for all keys at once, until it is cancelled."""
        while True:
            await asyncio.sleep(TOUCH_EVERY)
            await self.note_uses()

    async def note_uses(self) -> None:
        used, self._used = self._used, set()
        if not used:
            return
        try:
            async with asyncio.timeout(NOTING):
                await keys.touch(self._database, sorted(used), clock.machine())
        except Exception as error:  # noqa: BLE001 - a note that is lost harms nobody, a loop that ends would
            log.warning("the last use of keys was not noted", error=type(error).__name__)

    async def _look_up(self, key: str, digest: bytes) -> Caller | None:
        """Requests that come together with one key ask the database once."""
        if not keys.is_well_formed(key):
            return None
        search = self._searches.get(digest)
        if search is None:
            search = self._searches[digest] = asyncio.create_task(self._search(digest))
        return await asyncio.shield(search)

    async def _search(self, digest: bytes) -> Caller | None:
        try:
            caller = await keys.find(self._database, digest)
            self._keep(digest, caller)
            return caller
        finally:
            del self._searches[digest]

    def _keep(self, digest: bytes, caller: Caller | None) -> None:
        """In the order of their keeping, so that the first is the one to go."""
        self._kept.pop(digest, None)
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[digest] = (time.monotonic() + (KEPT if caller else UNKNOWN_KEPT), caller)


def key_of(headers: Mapping[bytes, bytes]) -> str | None:
    """From `Authorization: Bearer …` or `X-API-Key`."""
    if (authorization := headers.get(b"authorization")) is not None:
        scheme, _, key = authorization.partition(b" ")
        return key.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
    bare = headers.get(b"x-api-key")
    return None if bare is None else bare.decode("latin-1")


def caller_of(scope: Scope) -> Caller:
    """Whom the edge found. Raises KeyMissing, KeyInvalid, KeyExpired."""
    found = scope["auth"]
    if isinstance(found, Caller):
        return found
    if isinstance(found, DomainError):
        raise found
    raise KeyMissing

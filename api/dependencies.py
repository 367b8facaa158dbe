"""What handlers may ask for by name: `resources`, `caller`, `tx`, `once`."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from litestar.di import NamedDependency, Provide

from api import authentication, idempotency
from api.edge import Draining
from api.idempotency import Once
from api.requests import Request
from domain.api_keys.keys import Caller
from domain.generations.reception import Reception
from runtime import failpoints
from runtime.children import ChildPool
from runtime.database import Database, SystemDatabase, Transaction
from runtime.encryption import Keyring
from runtime.remembered import Remembered
from runtime.settings import Settings
from runtime.wakeups import Hub, Nudge
from storage.addresses import ObjectUrls
from storage.base import ObjectStore

CheckSchema = Callable[[], Awaitable[None]]
"""Raises when the database is not for this release any more."""
READS: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, kw_only=True)
class Resources:
    """All that the handlers of this process reach the world through. `inspectors` look at uploaded pictures, `scratch`
    is where files lie until the store has them; `heartbeat` is in seconds; `examinations` are those of
    `api.health`, by part.
    """

    settings: Settings
    database: Database
    reception: Reception
    store: ObjectStore
    urls: ObjectUrls
    keyring: Keyring
    nudge: Nudge
    hub: Hub
    inspectors: ChildPool
    scratch: Path
    system: SystemDatabase | None = None
    draining: Draining = field(default_factory=Draining)
    heartbeat: float = 15.0
    check_schema: CheckSchema | None = None
    examinations: dict[str, Remembered[Any]] = field(default_factory=dict)


def resources_of(request: Request) -> Resources:
    found: Resources = request.app.state.resources
    return found


async def provide_resources(request: Request) -> Resources:
    return resources_of(request)


async def provide_caller(request: Request) -> Caller:
    return authentication.caller_of(request.scope)


async def provide_tx(
    request: Request, caller: NamedDependency[Caller], resources: NamedDependency[Resources]
) -> AsyncGenerator[Transaction, None]:
    """The transaction of the caller's organization; read-only where the method only reads. It is committed after the
    handler has returned and before the answer goes out, so a commit that fails is the answer's failure.

    The only generator among the dependencies: errors of two would arrive as an ExceptionGroup, and they would be
    closed side by side. A handler that waits or streams opens its own transactions and leaves them before it waits.
    """
    database = resources.database
    reads = request.method in READS
    opened = database.read_only if reads else database.transaction
    async with opened(caller.organization_id) as tx:
        yield Transaction(tx)
        if not reads:
            failpoints.hit("api.before_commit")
    if not reads:
        failpoints.hit("api.after_write")


async def provide_once(
    request: Request,
    caller: NamedDependency[Caller],
    tx: NamedDependency[Transaction],
    resources: NamedDependency[Resources],
) -> Once:
    """For a POST that creates: see `Once.answer`. Raises KeyMalformed."""
    key = await idempotency.key_of(request, caller)
    return Once(tx, caller.organization_id, key, resources.keyring)


PROVIDERS: Final = {
    "resources": Provide(provide_resources),
    "caller": Provide(provide_caller),
    "tx": Provide(provide_tx),
    "once": Provide(provide_once),
}

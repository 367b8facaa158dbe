"""Is it there, does it live, may it be sent requests, and how is each of its parts. Anybody may ask, as often as he
likes: what PostgreSQL, Redis and the store are asked for it doesn't grow with that.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple, TypeVar

import msgspec
import redis.asyncio
from litestar import Response, Router, get
from litestar.di import NamedDependency

from api.dependencies import Resources
from runtime.remembered import Remembered

TIMEOUT: Final = 2.0
"""Seconds in which a part has to answer."""
REMEMBERED: Final = 1.0
"""Seconds for which its answer is good."""
SCHEMA_REMEMBERED: Final = 30.0
"""The same, while it fits: it changes when somebody deploys, and to look takes a connection of its own."""
UNCACHED: Final = {"cache-control": "no-store"}

Status = Literal["ok", "draining", "failing"]
Report = TypeVar("Report", "Health", "Details")


class Health(msgspec.Struct, frozen=True):
    status: Status


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """`needed`: without it this process can't take requests; the others are only missed."""

    status: Literal["ok", "failing"]
    needed: bool
    milliseconds: float


class Details(msgspec.Struct, frozen=True):
    """Says nothing of addresses and errors: those are in the logs."""

    status: Status
    parts: dict[str, Part]


@get(["/", "/live"], security=[], summary="Does the process live")
async def live() -> Health:
    return Health("ok")


@get("/ready", security=[], summary="May it be sent requests")
async def ready(resources: NamedDependency[Resources]) -> Response[Health]:
    """503 while it stops, while its database is away, and when that is not for this release any more."""
    if resources.draining.begun:
        return _answer(Health("draining"))
    parts = await asyncio.gather(*(_examine(resources, name) for name, check in CHECKS.items() if check.needed))
    return _answer(Health("ok" if all(part.status == "ok" for part in parts) else "failing"))


@get("/detailed", security=[], summary="How is each part")
async def detailed(resources: NamedDependency[Resources]) -> Response[Details]:
    names = list(CHECKS)
    parts = dict(zip(names, await asyncio.gather(*(_examine(resources, name) for name in names)), strict=True))
    failing = any(part.needed and part.status == "failing" for part in parts.values())
    status: Status = "draining" if resources.draining.begun else "failing" if failing else "ok"
    return _answer(Details(status, parts))


async def _database(resources: Resources) -> None:
    await resources.database.call("select 1")


async def _schema(resources: Resources) -> None:
    if resources.check_schema is not None:
        await resources.check_schema()


async def _storage(resources: Resources) -> None:
    await resources.store.check()


async def _redis(resources: Resources) -> None:
    """Wake-ups go another way while it is away."""
    if url := resources.settings.redis_url:
        async with redis.asyncio.Redis.from_url(url, socket_timeout=TIMEOUT, retry=None) as client:
            await client.ping()


class Check(NamedTuple):
    """`remembered`: for so many seconds, when it went well."""

    ask: Callable[[Resources], Awaitable[None]]
    needed: bool = False
    remembered: float = REMEMBERED


CHECKS: Final = {
    "database": Check(_database, needed=True),
    "schema": Check(_schema, needed=True, remembered=SCHEMA_REMEMBERED),
    "storage": Check(_storage),
    "redis": Check(_redis),
}


async def _examine(resources: Resources, name: str) -> Part:
    def seconds(part: Part) -> float:
        return CHECKS[name].remembered if part.status == "ok" else REMEMBERED

    if name not in resources.examinations:
        resources.examinations[name] = Remembered(functools.partial(_found, resources, CHECKS[name]), seconds)
    part: Part = await resources.examinations[name]()
    return part


async def _found(resources: Resources, check: Check) -> Part:
    began = time.perf_counter()
    status: Literal["ok", "failing"] = "ok"
    try:
        async with asyncio.timeout(TIMEOUT):
            await check.ask(resources)
    except Exception:  # noqa: BLE001 - whatever it is, the part does not work
        status = "failing"
    return Part(status=status, needed=check.needed, milliseconds=round((time.perf_counter() - began) * 1000, 1))


def _answer(health: Report) -> Response[Report]:
    return Response(health, status_code=200 if health.status == "ok" else 503, headers=UNCACHED)


router = Router("/health", route_handlers=[live, ready, detailed], tags=["Health"])

"""PostgreSQL: reached as our roles, with our schema, tenancy in force, safe commits, the right time; what waits."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import asyncpg

from cli.checks.finding import Finding, Subject, bad, good, guarded, note
from migrations import compatibility, roles
from runtime import clock, database
from runtime.database import Database, SystemDatabase
from runtime.embedded import postgres

PART: Final = "PostgreSQL"
OLDEST: Final = 15
FURTHEST_APART: Final = timedelta(seconds=2)
LONGEST_WAIT: Final = 30.0
COUNT_CAP: Final = 1000

_UNPROTECTED: Final = """
    select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'organization_id'
    where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace and not a.attisdropped
        and not (c.relrowsecurity and c.relforcerowsecurity)
    order by 1
"""
_VISIBLE: Final = "select exists (select from organizations)"
_LEADING: Final = """
    select exists (select from pg_locks where locktype = 'advisory' and granted and objsubid = 1
        and objid = (hashtext('atelier.relay')::bigint & 4294967295)::oid)
"""


async def embedded(subject: Subject) -> list[Finding]:
    """Before anything runs: whether `atelier up` could start its own."""
    found = await asyncio.to_thread(postgres.find_programs, subject.settings.data_dir / "postgres")
    return [good(PART, f"version {found.major} is on this machine; `atelier up` starts it")]


async def everything(subject: Subject) -> list[Finding]:
    found = await _roles(subject)
    connection = await database.connect(subject.settings.database_system_url, name="atelier-doctor")
    try:
        for part, check in _CHECKS.items():
            found += await guarded(part, check(subject, connection), subject.settings)
    finally:
        await connection.close()
    return found


async def _roles(subject: Subject) -> list[Finding]:
    found = []
    settings = subject.settings
    pools = {
        roles.APP: Database(settings.database_url, size=1, name="atelier-doctor"),
        roles.SYSTEM: SystemDatabase(settings.database_system_url, size=1, name="atelier-doctor"),
    }
    for role, pool in pools.items():
        began = time.perf_counter()
        try:
            await pool.check_role()
        except database.WrongRoleError as error:
            found.append(bad(PART, str(error), "`atelier migrate` with ATELIER_DATABASE_ADMIN_URL makes both roles"))
        else:
            milliseconds = (time.perf_counter() - began) * 1000
            found.append(good(PART, f"reachable as {role}, no superuser and no owner ({milliseconds:.0f} ms)"))
        finally:
            await pool.close()
    return found


async def _schema(_: Subject, connection: asyncpg.Connection) -> list[Finding]:
    standing = await compatibility.ask(connection)
    if refusal := await compatibility.refusal(connection, standing):
        what, __, advice = refusal.partition(": ")
        return [bad("schema", what, advice)]
    mine, there = compatibility.head(), f"at revision {standing.revision}"
    if standing.revision > mine:
        return [good("schema", f"{there}, newer than this release's {mine}, which it still carries")]
    if standing.kept != await asyncio.to_thread(compatibility.wanted, standing):
        return [note("schema", f"{there}, with other functions than this release's", "run `atelier migrate`")]
    return [good("schema", f"{there}, which this release wants")]


async def _tenancy(subject: Subject, connection: asyncpg.Connection) -> list[Finding]:
    """Row-level security is in force on the tables, and really hides the rows."""
    unprotected = ", ".join(row["relname"] for row in await connection.fetch(_UNPROTECTED))
    if unprotected:
        return [bad("tenancy", f"row-level security is not forced on {unprotected}", "force it; ask who lifted it")]
    app = await database.connect(subject.settings.database_url, name="atelier-doctor")
    try:
        visible = await app.fetchval(_VISIBLE)
    finally:
        await app.close()
    if visible:
        return [bad("tenancy", "rows are seen without an organization", "drop the policy that lets them through")]
    return [good("tenancy", "row-level security is forced on every table: no organization, no rows")]


async def _durability(_: Subject, connection: asyncpg.Connection) -> list[Finding]:
    major = await connection.fetchval("select current_setting('server_version_num')::integer / 10000")
    if major < OLDEST:
        return [bad("durability", f"PostgreSQL {major} is too old", f"use PostgreSQL {OLDEST} or newer")]
    off = [name for name in ("fsync", "full_page_writes") if await connection.fetchval(f"show {name}") == "off"]
    if off:
        return [bad("durability", f"{' and '.join(off)} is off: a power failure loses accepted work", "turn it on")]
    return [good("durability", f"PostgreSQL {major} puts every accepted request on disk")]


async def _time(_: Subject, connection: asyncpg.Connection) -> list[Finding]:
    before = clock.machine()
    theirs = await connection.fetchval("select clock_timestamp()")
    asked = clock.machine() - before
    apart = max(abs(theirs - (before + asked / 2)) - asked / 2, timedelta())
    if apart > FURTHEST_APART:
        return [bad("clock", f"{apart.total_seconds():.1f} s away from the database's", "let both machines ask NTP")]
    return [good("clock", f"{apart.total_seconds() * 1000:.0f} ms away from the database's")]


async def _work(_: Subject, connection: asyncpg.Connection) -> list[Finding]:
    """What waits, and whether somebody takes care of it."""
    row = await connection.fetchrow("select * from sample_events($1)", COUNT_CAP)
    if not await connection.fetchval(_LEADING):
        found = [bad("relay", "none leads: what is accepted is not worked on", "start `atelier relay`")]
    elif row["oldest_seconds"] > LONGEST_WAIT:
        found = [bad("relay", f"an event has waited for {row['oldest_seconds']:.0f} s", "look into the relay's log")]
    else:
        found = [good("relay", "one leads and keeps up")]
    if waiting := row["dead"] + row["set_aside"]:
        count = f"{waiting} or more" if COUNT_CAP in (row["dead"], row["set_aside"]) else str(waiting)
        found.append(note("dead letters", f"{count} wait for a person", "see `atelier dead-letters list`"))
    return found


_CHECKS: Final[dict[str, Callable[[Subject, asyncpg.Connection], Awaitable[list[Finding]]]]] = {
    "schema": _schema,
    "tenancy": _tenancy,
    "durability": _durability,
    "clock": _time,
    "relay": _work,
}

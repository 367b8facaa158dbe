"""`python -m bench.scaling.costs`: what one image with its webhook costs each part of an installation, and what one
relay gets done: the measured side of `docs/scaling.md`.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import asyncpg
import msgspec
import uvloop

from bench import figures, telling, usage
from bench.fairness import stage
from bench.fairness.receivers import Behaviour, Receivers
from bench.fairness.stage import Stage
from bench.figures import Figure
from cli.installation import COMMANDS
from runtime import database
from runtime.settings import Settings
from workers import relay

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "scaling.md"
COMMAND: Final = ".venv/bin/python -m bench.scaling.costs"
CUSTOMERS: Final = 20
EACH: Final = 40
"""Images of each customer."""
EVENTS: Final = 20_000

_COMMITS: Final = "select xact_commit from pg_stat_database where datname = current_database()"
_WAL: Final = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
_CONNECTIONS: Final = """
    select application_name, count(*) from pg_stat_activity
    where datname = current_database() and application_name <> 'atelier-bench' group by 1
"""
_SIZE: Final = """
    select sum(pg_total_relation_size(c.oid))::bigint from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
"""
_FUNCTIONS: Final = """
    select funcname, sum(calls)::bigint as calls, sum(self_time) as ms from pg_stat_user_functions
    group by 1 having sum(self_time) > 0 order by 3 desc limit 6
"""
_HAPPEN: Final = """
    with happened as (
        insert into events (organization_id, id, type, version, subject, correlation_id, data)
        select $1, new_id('evt'), 'generation.accepted', 1, 'gen_' || n, 'gen_' || n, '{}' from generate_series(1, $2) n
        returning organization_id, id, type
    )
    insert into pending_events (event_id, organization_id, type) select id, organization_id, type from happened
"""
_TAKE_UP: Final = "update tasks set state = 'done', ended_at = now() where state = 'dispatched'"


class Snapshot(msgspec.Struct, frozen=True):
    cpu: Mapping[str, float]
    wal: int
    commits: int
    size: int


async def image(here: Stage) -> list[Figure]:
    """Per image, of a busy installation: accepted, rendered, stored, charged, and told by one webhook."""
    async with Receivers({"healthy": Behaviour()}) as receivers:
        customers = await here.customers("scale", CUSTOMERS, [receivers.hook("healthy")])
        owner = await asyncpg.connect(here.running.settings.database_admin_url)
        await owner.execute("alter system set track_functions = 'all'")
        await owner.execute("select pg_reload_conf()")
        await owner.close()
        here.tell(f"costs: {CUSTOMERS * EACH:,} images with their webhooks")
        before = await _look(here)
        sent = await here.post(dict.fromkeys(customers, EACH))
        busiest: Counter[str] = Counter()

        async def all_told() -> bool:
            busiest.update({row[0]: max(0, row[1] - busiest[row[0]]) for row in await here.rows(_CONNECTIONS)})
            return receivers.came["healthy"].keys() >= sent.accepted.keys()

        await stage.until(all_told)
        after, count = await _look(here), len(sent.accepted)
    used = {name: 1000 * (after.cpu[name] - before.cpu[name]) / count for name in before.cpu}
    return [
        *(figures.plain(f"CPU for one image and its webhook: {name}", each, "ms") for name, each in used.items()),
        figures.plain("  all processes", sum(used.values()), "ms"),
        figures.plain("WAL for one image and its webhook", (after.wal - before.wal) / count / 1024, "KiB"),
        figures.plain("  rows and indexes in PostgreSQL", (after.size - before.size) / count / 1024, "KiB"),
        figures.plain("  commits", (after.commits - before.commits) / count),
        *(figures.plain(f"connections at the peak: {name}", each) for name, each in sorted(busiest.items())),
        *(
            Figure(
                f"SQL function {row['funcname']}",
                f"{row['ms'] / count:.2f} ms, {row['calls'] / count:.2f} calls an image",
            )
            for row in await here.rows(_FUNCTIONS)
        ),
    ]


async def _look(here: Stage) -> Snapshot:
    return Snapshot(
        cpu=usage.cpu(here.running.pids()),
        wal=await here.value(_WAL),
        commits=await here.value(_COMMITS),
        size=await here.value(_SIZE),
    )


async def leader(here: Stage) -> list[Figure]:
    """Steps as the leading relay makes them; the installation's own processes stand still meanwhile."""
    [customer] = await here.customers("scale")
    given = relay.arguments(here.running.settings)
    connection = await database.connect(here.running.settings.database_system_url, name="atelier-bench", flush=False)
    with here.frozen(*COMMANDS):
        await asyncio.sleep(relay.FROZEN_SECONDS + 1)
        await here.ledger.execute(_HAPPEN, customer.organization_id, EVENTS)
        here.tell(f"relay: {EVENTS:,} events")
        expanding = EVENTS / await _expand(connection, given._replace(queues=_queues(0)))
        sending = EVENTS / await _dispatch(connection, given._replace(queues=_queues(400)))
    await connection.close()
    return [
        figures.plain("events that one relay makes tasks of", expanding, "/s"),
        figures.plain("tasks that one relay takes out of a backlog, 400 in a step", sending, "/s"),
    ]


def _queues(window: int) -> str:
    return f'[{{"queue": "images", "size": {window}, "capped": false, "lane": null}}]'


async def _expand(connection: asyncpg.Connection, given: relay.Arguments) -> float:
    """Seconds."""
    expanded, began = 0, time.perf_counter()
    while expanded < EVENTS:
        expanded += relay.read_step(await connection.fetchrow(relay.STEP, *given)).expanded
    return time.perf_counter() - began


async def _dispatch(connection: asyncpg.Connection, given: relay.Arguments) -> float:
    """Seconds, without those in which what was sent is taken up."""
    sent, spent = 0, 0.0
    while sent < EVENTS:
        began = time.perf_counter()
        step = relay.read_step(await connection.fetchrow(relay.STEP, *given))
        spent += time.perf_counter() - began
        sent += sum(len(each.tasks) for each in step.messages)
        await connection.execute(_TAKE_UP)
    return spent


def main() -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--document", action="store_true", help="write the table into docs/scaling.md")
    given = parser.parse_args()
    found = uvloop.run(_measure())
    table = "\n".join(["| what | figure |", "|---|---|", *(f"| {each.what} | {each.value} |" for each in found)])
    print(f"\n{table}\n\nwritten to {figures.write('costs', found)}")
    if given.document:
        figures.document(DOCUMENT, COMMAND, table)
    return 0


async def _measure() -> list[Figure]:
    tell = telling.from_now()
    async with stage.opened(Settings(), tell) as here:
        found = await image(here)
    async with stage.opened(Settings(), tell) as here:
        return found + await leader(here)


if __name__ == "__main__":
    sys.exit(main())

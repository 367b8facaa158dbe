"""A history written at once: rows as a busy installation would have left them, of every table that grows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from runtime import ids


class History(msgspec.Struct, frozen=True, kw_only=True):
    """`rows` of each table, dealt to the organizations in turn. `endpoints`: one of each organization's. All of it
    happened at `at`; two histories of one database need two times.
    """

    organizations: Sequence[str]
    endpoints: Sequence[str]
    rows: int
    at: datetime
    status: str = "succeeded"
    event_type: str = "generation.succeeded"
    delivery_status: str = "delivered"
    project: str | None = None


TABLES: Final = {
    "generations": """
        insert into generations (organization_id, id, status, engine, template, request, price, hold_id, charged,
            created_at, started_at, ended_at, project)
        select o, id('gen', n), status, 'template', 'badge', '{"input": {"label": "A1"}, "output": {"format": "png"}}',
            1, id('ent', n), 1, at, at, at, project""",
    "credit_entries": """
        insert into credit_entries (organization_id, id, kind, from_account, to_account, amount, hold_id, generation_id,
            created_at)
        select o, id('ent', n), 'settle', 'held', 'spent', 1, id('ent', n), id('gen', n), at""",
    "assets": """
        insert into assets (organization_id, id, generation_id, identity, storage_key, sha256, format, width, height,
            bytes, created_at)
        select o, id('ast', n), id('gen', n), encode(sha256(id('ast', n)::bytea), 'hex'),
            'o/' || o || '/' || md5(id('ast', n)) || '.png', encode(sha256(id('ast', n)::bytea), 'hex'), 'png', 128,
            128, 1000, at""",
    "events": """
        insert into events (organization_id, id, type, version, subject, correlation_id, data, occurred_at)
        select o, id('evt', n), event_type, 1, id('gen', n), id('gen', n), '{"credits": 1, "reused": false}', at""",
    "feed": """
        insert into feed (position, organization_id, event_id, type, subject)
        select nextval('feed_position'), o, id('evt', n), event_type, id('gen', n)""",
    "tasks": """
        insert into tasks (organization_id, event_id, actor, target, subject, queue, state, run_at, dispatched_at,
            started_at, ended_at, lease_token, created_at)
        select o, id('evt', n), 'webhooks.deliver', e, id('gen', n), 'webhooks', 'done', at, at, at, at, n, at""",
    "deliveries": """
        insert into deliveries (organization_id, id, event_id, event_type, endpoint_id, status, attempts, created_at,
            delivered_at, body)
        select o, id('dlv', n), id('evt', n), event_type, e, delivery_status, 1, at, at, 'a body'""",
    "delivery_attempts": """
        insert into delivery_attempts (organization_id, id, delivery_id, started_at, duration_ms, status_code)
        select o, id('att', n), id('dlv', n), at, 5, 204""",
    "notifications": """
        insert into notifications (organization_id, id, event_id, kind, channel, recipient, subject, status, created_at)
        select o, id('ntf', n), id('evt', n), 'image_ready', 'email', 'a@customer.example', id('gen', n), 'sent', at""",
    "idempotency_keys": """
        insert into idempotency_keys (organization_id, scope, key, fingerprint, status, body, created_at)
        select o, 'live POST /v1/generations', md5(id('idk', n)), '', 202, '{}', at""",
}  # fmt: skip
"""`o` is an organization, `e` its endpoint, `n` the number of the row; `id(…)` stands for an id of that time."""


async def write(connection: asyncpg.Connection, history: History, table: str) -> None:
    """As a superuser, and without looking at foreign keys: the rows fit each other."""
    stamp = ids.earliest("", history.at)[1:11]
    columns = TABLES[table]
    for prefix in ("gen", "ent", "ast", "evt", "dlv", "att", "ntf", "idk"):
        columns = columns.replace(f"id('{prefix}', n)", f"('{prefix}_{stamp}' || lpad(to_hex(n), 16, '0'))")
    values = (
        history.organizations,
        history.endpoints,
        history.rows,
        history.at,
        history.status,
        history.event_type,
        history.delivery_status,
        history.project,
    )
    async with connection.transaction():
        await connection.execute("set local session_replication_role = replica")
        await connection.execute(f"{_GIVEN} {columns} {_DEALT}", *values, timeout=1800)


_GIVEN: Final = """
    with given as (
        select $1::text[] as organizations, $2::text[] as endpoints, $3::bigint as rows, $4::timestamptz as at,
            $5::text as status, $6::text as event_type, $7::text as delivery_status, $8::text as project
    )
"""
_DEALT: Final = """
    from given, generate_series(1, given.rows) n
    cross join lateral (
        select given.organizations[1 + n % cardinality(given.organizations)] as o,
            given.endpoints[1 + n % cardinality(given.organizations)] as e
    ) dealt
"""

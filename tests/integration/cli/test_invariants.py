"""What holds at rest: a sound database breaks no rule, and each planted fault breaks the rule that speaks of it."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from cli import invariants
from tests.conftest import Servers

SOUND = """
insert into organizations (organization_id, name, plan) values ('org_1', 'One', 'scale');
insert into webhook_endpoints (organization_id, id, url, event_types, secret, created_at)
values ('org_1', 'whe_1', 'https://example.com', '{}', '', now() - interval '1 hour');
insert into generations (organization_id, id, status, engine, template, request, price, hold_id, charged) values
    ('org_1', 'gen_1', 'succeeded', 'template', 'badge', '{}', 1, 'ent_h1', 1),
    ('org_1', 'gen_2', 'failed', 'template', 'badge', '{}', 1, 'ent_h2', 0);
insert into credit_accounts (organization_id, available) values ('org_1', 9);
insert into credit_entries (organization_id, id, kind, from_account, to_account, amount, hold_id, generation_id) values
    ('org_1', 'ent_g', 'grant', 'granted', 'available', 10, null, null),
    ('org_1', 'ent_h1', 'hold', 'available', 'held', 1, 'ent_h1', 'gen_1'),
    ('org_1', 'ent_s1', 'settle', 'held', 'spent', 1, 'ent_h1', 'gen_1'),
    ('org_1', 'ent_h2', 'hold', 'available', 'held', 1, 'ent_h2', 'gen_2'),
    ('org_1', 'ent_r2', 'release', 'held', 'available', 1, 'ent_h2', 'gen_2');
insert into assets (organization_id, id, generation_id, identity, storage_key, sha256, format, width, height, bytes)
values ('org_1', 'ast_1', 'gen_1', 'i', 'o/org_1/x.png', 'x', 'png', 1, 1, 1);
insert into events (organization_id, id, type, version, subject, correlation_id, causation_id, data) values
    ('org_1', 'evt_1', 'generation.accepted', 1, 'gen_1', 'gen_1', null, '{}'),
    ('org_1', 'evt_2', 'generation.succeeded', 1, 'gen_1', 'gen_1', 'evt_1', '{}'),
    ('org_1', 'evt_3', 'generation.accepted', 1, 'gen_2', 'gen_2', null, '{}'),
    ('org_1', 'evt_4', 'task.died', 1, 'gen_2', 'gen_2', 'evt_3', '{"task": 2, "actor": "generations.render"}'),
    ('org_1', 'evt_5', 'generation.failed', 1, 'gen_2', 'gen_2', 'evt_4', '{}');
insert into feed (position, organization_id, event_id, type, subject)
select row_number() over (order by id), organization_id, id, type, subject from events;
insert into deliveries (organization_id, id, event_id, event_type, endpoint_id, status)
select organization_id, 'dlv_' || id, id, type, 'whe_1', 'delivered' from events where type <> 'task.died';
insert into tasks (organization_id, event_id, actor, subject, queue, state) values
    ('org_1', 'evt_1', 'generations.render', 'gen_1', 'images', 'done'),
    ('org_1', 'evt_3', 'generations.render', 'gen_2', 'images', 'dead');
"""

PLANTED = {
    "an accepted generation comes to an end": "update generations set status = 'running' where id = 'gen_2'",
    "the end of a generation is told by an event": "delete from events where id = 'evt_2'",
    "a generation has one end, and one more for each retry": """
        insert into events (organization_id, id, type, version, subject, correlation_id, data)
        values ('org_1', 'evt_9', 'generation.cancelled', 1, 'gen_1', 'gen_1', '{}')
    """,
    "a success has its image": "delete from assets",
    "a generation has one image at most, and only when it succeeded": """
        insert into assets
        (organization_id, id, generation_id, identity, storage_key, sha256, format, width, height, bytes)
        values ('org_1', 'ast_2', 'gen_2', 'i', 'o/org_1/x.png', 'x', 'png', 1, 1, 1)
    """,
    "a generation is charged once at most, and only when it succeeded": """
        insert into credit_entries (organization_id, id, kind, from_account, to_account, amount, hold_id, generation_id)
        values ('org_1', 'ent_s9', 'settle', 'held', 'spent', 1, 'ent_h9', 'gen_1')
    """,
    "what was settled is what a generation says that it cost, and one that was drawn costs its price": """
        update generations set charged = 0 where id = 'gen_1'
    """,
    "an ended generation has no open hold, and a hold ends once, with its whole amount": """
        delete from credit_entries where id = 'ent_r2'
    """,
    "a balance is the sum of its entries, and never below zero": "update credit_accounts set available = 10",
    "no event waits for the relay": "insert into pending_events select 'evt_1', 'org_1', 'generation.accepted'",
    "no event was set aside": """
        insert into set_aside_events (event_id, organization_id, type, error)
        values ('evt_1', 'org_1', 'generation.accepted', 'no such function')
    """,
    "the feed has every event once": "delete from feed where event_id = 'evt_1'",
    "no task that is due is open": "update tasks set state = 'ready' where subject = 'gen_1'",
    "the death of a task is told once": "delete from events where type = 'task.died'",
    "a generation whose render died has failed": "update tasks set state = 'dead' where subject = 'gen_1'",
    "what happens to a generation is delivered to every endpoint that wants it, or the delivery has failed": """
        delete from deliveries where event_id = 'evt_2'
    """,
}


@pytest.fixture
async def connection(servers: Servers, database_name: str) -> AsyncIterator[asyncpg.Connection]:
    parts = urlsplit(servers.admin_url)
    opened = await asyncpg.connect(urlunsplit(parts._replace(path=f"/{database_name}")))
    await opened.execute(SOUND)
    yield opened
    await opened.close()


async def test_a_sound_database_breaks_no_rule(connection: asyncpg.Connection) -> None:
    assert await invariants.breaches(connection) == []


@pytest.mark.parametrize("rule", [rule.says for rule in invariants.RULES])
async def test_a_planted_fault_is_named_by_the_rule_that_speaks_of_it(
    connection: asyncpg.Connection, rule: str
) -> None:
    await connection.execute(PLANTED[rule])
    assert rule in {breach.rule for breach in await invariants.breaches(connection)}


async def test_a_failed_generation_that_is_tried_again_may_end_twice_and_holds_twice(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute("""
        update generations set status = 'succeeded', charged = 1, hold_id = 'ent_h3' where id = 'gen_2';
        update tasks set state = 'cancelled' where subject = 'gen_2';
        delete from events where type = 'task.died';
        insert into credit_entries (organization_id, id, kind, from_account, to_account, amount, hold_id, generation_id)
        values ('org_1', 'ent_h3', 'hold', 'available', 'held', 1, 'ent_h3', 'gen_2'),
            ('org_1', 'ent_s3', 'settle', 'held', 'spent', 1, 'ent_h3', 'gen_2');
        update credit_accounts set available = 8;
        insert into assets
        (organization_id, id, generation_id, identity, storage_key, sha256, format, width, height, bytes)
        values ('org_1', 'ast_2', 'gen_2', 'i', 'o/org_1/y.png', 'y', 'png', 1, 1, 1);
        insert into events (organization_id, id, type, version, subject, correlation_id, data) values
            ('org_1', 'evt_6', 'generation.retried', 1, 'gen_2', 'gen_2', '{}'),
            ('org_1', 'evt_7', 'generation.succeeded', 1, 'gen_2', 'gen_2', '{}');
        insert into feed (position, organization_id, event_id, type, subject)
        select 10 + row_number() over (order by id), organization_id, id, type, subject from events where id > 'evt_5';
        delete from feed where event_id = 'evt_4';
        insert into deliveries (organization_id, id, event_id, event_type, endpoint_id, status)
        select organization_id, 'dlv_' || id, id, type, 'whe_1', 'delivered' from events where id > 'evt_5';
    """)
    assert await invariants.breaches(connection) == []

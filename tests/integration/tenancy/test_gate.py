"""The gate: PostgreSQL itself is asked whether every table, right and function is as it was decided."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from domain.models import metadata
from runtime.settings import Settings
from tests.conftest import Servers
from tests.integration.tenancy import gate, written_down

CLOSED = """
    alter table {0} enable row level security;
    alter table {0} force row level security;
    create policy organization on {0} to atelier_app
        using (organization_id = nullif(current_setting('app.organization', true), ''));
    create policy system on {0} to atelier_system using (true);
"""


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(settings.database_owner_url)
    yield connection
    await connection.close()


async def test_every_table_right_and_function_is_as_it_was_decided(owner: asyncpg.Connection) -> None:
    assert await gate.faults(owner) == []


async def test_the_lists_name_every_table_and_no_other(owner: asyncpg.Connection) -> None:
    there = {row[0] for row in await owner.fetch("select tablename from pg_tables where schemaname = 'public'")}
    assert there == set(written_down.SYSTEM_MAY)
    assert there == set(metadata.tables) | {"alembic_version"}


@pytest.mark.parametrize(
    ("mistake", "fault"),
    [
        ("create table notes (text text)", "notes belongs to no organization"),
        ("create table notes (organization_id text)", "notes has no forced row-level security"),
        ("alter table tasks no force row level security", "tasks has no forced row-level security"),
        ("drop policy organization on tasks", "tasks has other policies than organization and system"),
        ("create policy more on tasks using (true)", "tasks has other policies than organization and system"),
        ("alter policy organization on tasks to public", "tasks has other policies than organization and system"),
        ("alter policy organization on tasks using (true)", "tasks has other policies than organization and system"),
        ("alter policy organization on tasks with check (true)", "tasks has a policy for some commands only"),
        ("create view loose as select * from tasks", "the view loose reads as its owner"),
        ("create materialized view copy as select * from tasks", "copy is a materialized view"),
        ("grant delete on tasks to atelier_app", "atelier_app may delete tasks, which is not written down"),
        ("grant update (amount) on credit_entries to atelier_app", "atelier_app may update(amount) credit_entries"),
        ("revoke select on tasks from atelier_app", "atelier_app may not select tasks, although it is written down"),
        ("grant select on tasks to public", "everybody may select tasks"),
        ("create function peek() returns bigint language sql as 'select 1::bigint'", "everybody may call peek"),
        ("alter function bury_task security definer", "bury_task is SECURITY DEFINER and not written down"),
        ("alter function touch_keys reset search_path", "touch_keys runs as atelier_system"),
        ("alter function touch_keys set search_path = public", "touch_keys runs as atelier_system"),
        ("grant execute on function claim_tasks to atelier_app", "whether atelier_app may call claim_tasks"),
    ],
)
async def test_a_mistake_is_named(owner: asyncpg.Connection, mistake: str, fault: str) -> None:
    await owner.execute(mistake)
    assert [line for line in await gate.faults(owner) if line.startswith(fault)]


async def test_a_partition_needs_its_own_protection(owner: asyncpg.Connection) -> None:
    await owner.execute(
        f"""create table parts (organization_id varchar(64)) partition by list (organization_id);
        {CLOSED.format("parts")} create table part_one partition of parts for values in ('one')"""
    )
    faults = await gate.faults(owner)
    about_policies = [line for line in faults if "written down" not in line]
    assert about_policies == [
        "part_one has no forced row-level security",
        "part_one has other policies than organization and system",
    ]


@pytest.mark.parametrize(
    ("mistake", "undo", "fault"),
    [
        ("alter role atelier_app bypassrls", "alter role atelier_app nobypassrls", "atelier_app is a superuser"),
        ("grant atelier_owner to atelier_app", "revoke atelier_owner from atelier_app", "atelier_app may become"),
        ("alter table tasks owner to atelier_app", "", "tasks is owned by atelier_app"),
        ("grant create on schema public to atelier_app", "", "whether atelier_app may make tables"),
    ],
)
async def test_a_role_with_too_much_power_is_named(
    servers: Servers, owner: asyncpg.Connection, database_name: str, mistake: str, undo: str, fault: str
) -> None:
    """Roles are the whole server's: what was changed is changed back."""
    admin = await asyncpg.connect(servers.database_url("postgres", database_name))
    try:
        await admin.execute(mistake)
        faults = await gate.faults(owner)
    finally:
        if undo:
            await admin.execute(undo)
        await admin.close()
    assert [line for line in faults if line.startswith(fault)]

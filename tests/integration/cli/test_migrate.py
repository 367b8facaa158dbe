"""Migrating: again, at once, beside work that holds locks, and with code that is older or newer than the database."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest
from sqlalchemy.exc import DBAPIError

from cli import installation
from migrations import compatibility, functions, upgrade
from migrations.compatibility import IncompatibleDatabaseError, Kept
from runtime.settings import Settings
from tests.integration.cli.conftest import Atelier


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(settings.database_owner_url)
    yield connection
    await connection.close()


async def stands(owner: asyncpg.Connection, revision: str, **kept: str) -> None:
    """Has the database say that of itself."""
    there = (await compatibility.ask(owner)).kept
    await owner.execute("update alembic_version set version_num = $1", revision)
    comment = msgspec.json.encode(msgspec.structs.replace(there, **kept)).decode()
    await owner.execute(f"comment on table alembic_version is '{comment}'")


async def refusal(settings: Settings) -> str:
    """What a process says that begins now."""
    try:
        await compatibility.check(settings.database_system_url)
    except IncompatibleDatabaseError as error:
        return str(error)
    return ""


async def migrator(settings: Settings) -> asyncio.subprocess.Process:
    environment = {**os.environ, **installation.to_environment(settings)}
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "cli.main", "migrate", env=environment)


async def test_migrating_again_changes_nothing(atelier: Atelier, owner: asyncpg.Connection) -> None:
    before = await owner.fetch("select xmin::text, oid from pg_proc order by oid desc limit 99")
    answer = await atelier("migrate")
    assert (answer.status, answer.out) == (0, "the database is up to date\n")
    assert await owner.fetch("select xmin::text, oid from pg_proc order by oid desc limit 99") == before


def fails_with(monkeypatch: pytest.MonkeyPatch, states: list[str]) -> list[str]:
    """Each try fails with the next of these states, until none is left. Those that are left."""

    def run(*_: object) -> None:
        if states:
            cause = asyncpg.PostgresError()
            cause.sqlstate = states.pop(0)
            raise DBAPIError("", None, cause)

    monkeypatch.setattr(upgrade, "PAUSE", 0.0)
    monkeypatch.setattr(upgrade.command, "upgrade", run)
    return states


def test_a_deadlock_is_tried_again_as_a_locked_table_is(monkeypatch: pytest.MonkeyPatch) -> None:
    left = fails_with(monkeypatch, ["40P01", "55P03"])
    assert upgrade.upgrade("postgresql://nowhere/") == "the database is up to date"
    assert left == []


def test_the_last_try_is_explained_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(monkeypatch, ["55P03"] * (upgrade.TRIES - 1) + ["42P13"])
    with pytest.raises(IncompatibleDatabaseError):
        upgrade.upgrade("postgresql://nowhere/")
    left = fails_with(monkeypatch, ["40P01"] * (upgrade.TRIES + 1))
    with pytest.raises(DBAPIError):
        upgrade.upgrade("postgresql://nowhere/")
    assert len(left) == 1


@pytest.mark.parametrize("comment", ["'0123456789abcdef'", "null", """'{"functions": "other", "oldest": "0001"}'"""])
async def test_functions_that_changed_are_applied_anew_with_their_grants(
    atelier: Atelier, owner: asyncpg.Connection, settings: Settings, comment: str
) -> None:
    body = await owner.fetchval("select prosrc from pg_proc where proname = 'feed_after'")
    definition = await owner.fetchval("select pg_get_functiondef('feed_after'::regproc)")
    await owner.execute(definition.replace(body, " select 1::bigint, '', '', '' "))
    await owner.execute("revoke execute on function feed_after from atelier_system")
    await owner.execute(f"comment on table alembic_version is {comment}")
    assert "· schema" in (await atelier("doctor")).out
    assert await refusal(settings) == ""
    assert (await atelier("migrate")).status == 0
    assert await owner.fetchval("select prosrc from pg_proc where proname = 'feed_after'") == body
    assert await owner.fetchval("select has_function_privilege('atelier_system', 'feed_after'::regproc, 'execute')")
    assert (await compatibility.ask(owner)).kept == Kept(functions.digest(), compatibility.OLDEST)


async def test_a_function_under_another_signature_is_refused_in_one_line(
    atelier: Atelier, owner: asyncpg.Connection
) -> None:
    await owner.execute(
        "create function feed_after(p_position bigint) returns bigint language sql as 'select 1::bigint'"
    )
    await owner.execute("comment on table alembic_version is null")
    answer = await atelier("migrate")
    assert answer.status == 2
    (line,) = answer.err.splitlines()
    assert "a released signature never changes" in line
    assert await owner.fetchval("select obj_description('alembic_version'::regclass)") is None


async def test_a_migrator_older_than_the_database_leaves_it_as_it_is(
    atelier: Atelier, owner: asyncpg.Connection, settings: Settings
) -> None:
    await stands(owner, "9999", functions="of a newer release")
    answer = await atelier("migrate")
    assert (answer.status, answer.err) == (0, "")
    assert "9999" in answer.out
    assert "still carries" in answer.out
    assert (await compatibility.ask(owner)).kept.functions == "of a newer release"
    assert await refusal(settings) == ""
    assert "✓ schema" in (await atelier("doctor")).out


async def test_code_that_the_database_does_not_carry_any_more_does_not_begin(
    atelier: Atelier, owner: asyncpg.Connection, settings: Settings
) -> None:
    await stands(owner, "9999", oldest="9998")
    for answer in (await atelier("migrate"), await atelier("relay")):
        assert (answer.status, len(answer.err.splitlines())) == (2, 1)
        assert "run a newer release" in answer.err
    assert "carries releases from 9998 on" in await refusal(settings)


async def test_code_newer_than_the_database_waits_for_the_migration(
    owner: asyncpg.Connection, settings: Settings
) -> None:
    await stands(owner, "0001")
    assert "run `atelier migrate`" in await refusal(settings)
    await stands(owner, compatibility.head())
    await owner.execute("drop function feed_after")
    assert await refusal(settings) == "the database lacks the functions feed_after: run `atelier migrate`"
    await owner.execute("drop table alembic_version")
    assert await refusal(settings) == "the database has no schema: run `atelier migrate`"


async def test_migrators_at_once_take_turns(owner: asyncpg.Connection, settings: Settings) -> None:
    await owner.execute("comment on table alembic_version is null")
    both = [await migrator(settings) for _ in range(2)]
    assert [await one.wait() for one in both] == [0, 0]
    assert (await compatibility.ask(owner)).kept.functions == functions.digest()


async def test_a_migration_waits_for_its_turn_behind_another_one_however_long(
    owner: asyncpg.Connection, settings: Settings
) -> None:
    await owner.execute("select pg_advisory_lock(hashtext('atelier.migrate'))")
    migrating = asyncio.create_task(asyncio.to_thread(upgrade.upgrade, settings.database_owner_url))
    ours = "datname = current_database() and usename = current_user"  # autovacuum is nobody's
    others = f"from pg_stat_activity where {ours} and pid <> pg_backend_pid()"
    while not await owner.fetchval(f"select exists (select {others} and backend_start < now() - interval '1 s')"):
        assert not migrating.done()
        await asyncio.sleep(0.01)
    assert not await owner.fetch(f"select {others} and xact_start < now() - interval '500 ms'"), (
        "who builds an index concurrently would wait for it"
    )
    await owner.execute("select pg_advisory_unlock(hashtext('atelier.migrate'))")
    await migrating


async def test_an_index_is_built_beside_whoever_writes_and_anew_after_a_try_that_failed(
    owner: asyncpg.Connection, settings: Settings
) -> None:
    await owner.execute("drop index ix_assets_identity_hash; drop index ix_files_storage_key_hash")
    await owner.execute("create index ix_assets_identity_hash on assets (identity)")
    await stands(owner, "0003")
    writer = await asyncpg.connect(settings.database_owner_url)
    async with writer.transaction():
        await writer.execute("lock table assets in row exclusive mode")
        both = [await migrator(settings) for _ in range(2)]
        waits = "select from pg_locks where locktype in ('virtualxid', 'transactionid') and not granted"
        while not await owner.fetchval(f"select exists ({waits})"):
            assert [one.returncode for one in both] == [None, None]
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.5)  # longer than anybody may wait for a lock that others would wait behind
        async with asyncio.timeout(5):
            await owner.execute("update assets set bytes = bytes")
        assert await owner.fetchval(f"select exists ({waits})")
    await writer.close()
    assert [await one.wait() for one in both] == [0, 0]
    deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
    assert await owner.fetchval(deadlocks) == 0
    await asyncio.to_thread(upgrade.check, settings.database_owner_url)
    assert not await owner.fetch("select from pg_index where not indisvalid")


async def test_a_locked_table_is_tried_again_until_it_is_free(
    owner: asyncpg.Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody who comes behind a migration waits longer than its lock time-out."""
    monkeypatch.setattr(upgrade, "PAUSE", 0.0)
    await owner.execute("comment on table alembic_version is null")
    async with owner.transaction():
        await owner.execute("lock table alembic_version in access exclusive mode")
        migrating = asyncio.create_task(asyncio.to_thread(upgrade.upgrade, settings.database_owner_url))
        waiting = "select pid from pg_locks where relation = 'alembic_version'::regclass and not granted"
        pids = set[int]()
        while len(pids) < 2:
            assert not migrating.done()
            pids |= {row["pid"] for row in await owner.fetch(waiting)}
            await asyncio.sleep(0.02)
    await migrating
    assert (await compatibility.ask(owner)).kept.functions == functions.digest()

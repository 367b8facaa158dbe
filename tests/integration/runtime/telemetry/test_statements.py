"""Slow statements on a real PostgreSQL, by whichever way they are sent."""

from collections.abc import Iterator

import asyncpg
import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from structlog.typing import EventDict

from runtime.database import Database
from runtime.telemetry import metrics, statements

SLOW = "select pg_sleep(0.1)"
THRESHOLD = 0.05


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def watched(database: Database) -> Database:
    statements.install(database.engine, THRESHOLD, "watched")
    return database


def sample(name: str) -> float:
    found = [line for line in metrics.render().decode().splitlines() if line.startswith(name)]
    return float(found[0].split()[-1]) if found else 0.0


def slow_count() -> float:
    return sample('atelier_slow_statements_total{pool="watched"}')


async def test_a_slow_statement_is_logged_by_its_shape_and_counted(watched: Database, lines: list[EventDict]) -> None:
    before = slow_count()
    async with watched.engine.connect() as connection:
        await connection.execute(text(f"{SLOW}, :secret, 'written in'"), {"secret": "canary"})
    (line,) = lines
    assert line["event"] == "slow statement"
    assert line["statement"].startswith("select pg_sleep(?), $1")
    assert line["pool"] == "watched"
    assert line["seconds"] >= 0.1
    assert len(line["fingerprint"]) == 12
    assert "canary" not in str(lines)
    assert "written in" not in str(lines)
    assert slow_count() == before + 1


async def test_a_quick_statement_is_not_worth_a_line(watched: Database, lines: list[EventDict]) -> None:
    async with watched.engine.connect() as connection:
        await connection.execute(text("select 1"))
    await watched.call("select $1::text", "canary")
    assert lines == []


async def test_a_raw_call_of_the_driver_is_watched_too(watched: Database, lines: list[EventDict]) -> None:
    before = slow_count()
    await watched.call(f"{SLOW}, $1::text", "canary")
    async with watched.engine.connect() as connection:  # the driver tells in the loop's next turn
        await connection.execute(text("select 1"))
    (line,) = lines
    assert line["statement"] == "select pg_sleep(?), $1::text"
    assert "canary" not in str(lines)
    assert slow_count() == before + 1


async def test_a_statement_that_was_slow_to_fail_says_with_what(watched: Database, lines: list[EventDict]) -> None:
    async with watched.engine.connect() as connection:
        await connection.execute(text("set statement_timeout = 80"))
        with pytest.raises(DBAPIError):
            await connection.execute(text("select pg_sleep(5)"))
    with pytest.raises(asyncpg.PostgresError):
        await watched.call("select 1 / (extract(epoch from clock_timestamp()) * 0)::int from pg_sleep(0.1)")
    async with watched.engine.connect() as connection:
        await connection.execute(text("select 1"))
    assert [line["error"] for line in lines] == ["57014", "22012"], "SQLSTATE: query_canceled, division_by_zero"


async def test_the_use_of_a_pool_is_shown_at_each_scrape(watched: Database) -> None:
    in_use = 'atelier_pool_connections{pool="watched",state="in_use"}'
    assert sample(in_use) == 0
    async with watched.engine.connect(), watched.engine.connect():
        assert sample(in_use) == 2
    assert sample(in_use) == 0
    assert sample('atelier_pool_connections{pool="watched",state="idle"}') == 2
    assert sample('atelier_pool_limit{pool="watched"}') >= 2

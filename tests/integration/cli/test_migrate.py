"""Migrating again, and a database that an older state of the code has made."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from runtime.settings import Settings
from tests.integration.cli.conftest import Atelier


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(settings.database_owner_url)
    yield connection
    await connection.close()


async def test_migrating_again_changes_nothing(atelier: Atelier) -> None:
    answer = await atelier("migrate")
    assert (answer.status, answer.out) == (0, "the database is up to date\n")


@pytest.mark.parametrize("comment", ["'0123456789abcdef'", "null"])
async def test_a_database_of_an_older_state_of_the_code_is_refused_in_one_line(
    atelier: Atelier, owner: asyncpg.Connection, comment: str
) -> None:
    await owner.execute(f"comment on table alembic_version is {comment}")
    answer = await atelier("migrate")
    assert answer.status == 2
    (line,) = answer.err.splitlines()
    assert "made by an older state of this code" in line
    assert "remove the data folder" in line
    assert "✗ schema" in (await atelier("doctor")).out

"""The bugs that the harness plants to test itself can still be planted."""

import asyncpg
import pytest

from bench.faults import bugs, selftest
from bench.faults.bugs import Edit
from runtime import database
from runtime.settings import Settings

_INDEXES = "select indexname from pg_indexes where schemaname = 'public'"


@pytest.fixture
async def connection(settings: Settings) -> asyncpg.Connection:
    opened = await database.connect(settings.database_system_url, name="test-bugs")
    yield opened
    await opened.close()


@pytest.mark.parametrize("edit", [edit for bug in bugs.BUGS for edit in bug.edits], ids=lambda edit: edit.function)
async def test_what_a_bug_edits_stands_there(connection: asyncpg.Connection, edit: Edit) -> None:
    definition = await connection.fetchval(selftest.DEFINITION, edit.function)
    assert selftest.edited(definition, edit) != definition


async def test_what_a_bug_drops_is_there(connection: asyncpg.Connection) -> None:
    dropped = {statement.split()[-1] for bug in bugs.BUGS for statement in bug.statements if "drop index" in statement}
    assert dropped <= {row[0] for row in await connection.fetch(_INDEXES)}
    assert dropped


def test_what_does_not_stand_there_cannot_be_edited() -> None:
    with pytest.raises(ValueError, match="does not say"):
        selftest.edited("create function f() …", Edit("f", "where false", ""))

"""Statements without any filter, as atelier_app: row-level security alone keeps organizations apart."""

from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from runtime.database import Database, Reader, SystemDatabase
from runtime.orm import ORGANIZATION
from tests.integration.conftest import OrganizationFactory
from tests.integration.tenancy import rows, written_down
from tests.integration.tenancy.rows import TENANT_TABLES


@dataclass(frozen=True)
class Neighbours:
    """Two organizations, each with a row in every table; `counts` are the first one's."""

    ours: str
    theirs: str
    written: dict[str, dict[str, dict[str, Any]]]
    counts: dict[str, int]


@pytest.fixture
async def neighbours(make_organization: OrganizationFactory, system: SystemDatabase) -> Neighbours:
    ours, theirs = (await make_organization()).id, (await make_organization()).id
    async with system.system_transaction() as tx:
        written = {organization: await rows.fill(tx, organization) for organization in (ours, theirs)}
    async with system.system_transaction() as tx:
        for table in TENANT_TABLES.values():
            held = set(await tx.scalars(select(table.columns[ORGANIZATION])))
            assert held == {ours, theirs}, f"{table.name} needs a row of each"
        counts = {
            name: await tx.scalar(select(func.count()).select_from(table).where(table.columns[ORGANIZATION] == ours))
            for name, table in TENANT_TABLES.items()
        }
    return Neighbours(ours, theirs, written, counts)


def may(verb: str) -> list[str]:
    """The tables on which atelier_app may do that, in whole or to some columns."""
    return [name for name in TENANT_TABLES if verb in written_down.APP_MAY.get(name, "")]


def may_not(verb: str) -> list[str]:
    return [name for name in TENANT_TABLES if name not in may(verb)]


async def refusal(tx: Reader, statement: Any) -> str:
    """PostgreSQL's words, or nothing when it did what it was told."""
    try:
        async with tx.begin_nested():
            await tx.execute(statement)
    except DBAPIError as error:
        return str(error.orig)
    return ""


async def visible(tx: Reader) -> dict[str, set[str]]:
    return {name: set(await tx.scalars(text(f"select organization_id from {name}"))) for name in may("select")}


async def test_everything_that_is_read_is_the_organizations_own(database: Database, neighbours: Neighbours) -> None:
    async with database.read_only(neighbours.ours) as tx:
        assert await visible(tx) == {name: {neighbours.ours} for name in may("select")}


@pytest.mark.parametrize("organization", ["", "%", "org_that_is_not_there"])
async def test_without_an_organization_there_are_no_rows(
    database: Database, neighbours: Neighbours, organization: str
) -> None:
    async with database.read_only(organization) as tx:
        assert await visible(tx) == {name: set() for name in may("select")}
    async with database.engine.begin() as never_set:
        assert await visible(never_set) == {name: set() for name in may("select")}


async def test_nothing_can_be_written_for_another_organization(database: Database, neighbours: Neighbours) -> None:
    written = neighbours.written[neighbours.theirs]
    async with database.transaction(neighbours.ours) as tx:
        for name in may("insert"):
            foreign = insert(TENANT_TABLES[name]).values(rows.make(TENANT_TABLES[name], neighbours.theirs, written))
            assert "violates row-level security policy" in await refusal(tx, foreign), name


async def test_no_row_can_be_handed_to_another_organization(database: Database, neighbours: Neighbours) -> None:
    async with database.transaction(neighbours.ours) as tx:
        for name in may("update"):
            given_away = update(TENANT_TABLES[name]).values({ORGANIZATION: neighbours.theirs})
            said = await refusal(tx, given_away)
            assert "violates row-level security policy" in said or "permission denied" in said, name


async def test_a_change_without_a_filter_touches_the_organizations_own_rows_alone(
    database: Database, neighbours: Neighbours
) -> None:
    async with database.transaction(neighbours.ours) as tx:
        for name in may("update"):
            column = await tx.scalar(_CHANGEABLE, {"name": name})
            changed = await tx.execute(text(f"update {name} set {column} = {column}"))
            assert changed.rowcount == neighbours.counts[name], name


async def test_a_deletion_without_a_filter_touches_the_organizations_own_rows_alone(
    database: Database, system: SystemDatabase, neighbours: Neighbours
) -> None:
    async with database.transaction(neighbours.ours) as tx:
        for name in reversed(may("delete")):  # what refers to a row goes before it
            assert (await tx.execute(delete(TENANT_TABLES[name]))).rowcount == neighbours.counts[name], name
    async with system.system_transaction() as tx:
        for name in may("delete"):
            left = set(await tx.scalars(select(TENANT_TABLES[name].columns[ORGANIZATION])))
            assert left == {neighbours.theirs}, name


@pytest.mark.parametrize(
    ("verb", "statement"),
    [
        ("select", "select from {}"),
        ("update", "update {} set organization_id = organization_id"),
        ("delete", "delete from {}"),
    ],
)
async def test_what_was_not_granted_is_refused(
    database: Database, neighbours: Neighbours, verb: str, statement: str
) -> None:
    async with database.transaction(neighbours.ours) as tx:
        for name in may_not(verb):
            assert "permission denied" in await refusal(tx, text(statement.format(name))), name


_CHANGEABLE = text(
    "select attname from pg_attribute where attrelid = to_regclass(:name) and attnum > 0 and attidentity = '' "
    "and not attisdropped and has_column_privilege(attrelid, attnum, 'update') order by attnum limit 1"
)

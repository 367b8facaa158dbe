"""Every row of a customer says whose it is; the tables that belong to the installation are on a short list."""

import pytest
from sqlalchemy import Column, MetaData, Table, Text

from domain.models import metadata
from runtime.orm import ORGANIZATION

INSTALLATION = {
    "plans": "the catalogue: the same for every organization",
    "product_clock": "one row: how far the product's time is ahead",
    "schedule_ticks": "what the installation does by the clock",
}


def tables_without_an_organization(tables: MetaData) -> list[str]:
    return [
        name for name, table in tables.tables.items() if ORGANIZATION not in table.columns and name not in INSTALLATION
    ]


def tables_with_a_key_of_their_own(tables: MetaData) -> list[str]:
    """Columns called `id` of a tenant's table that are not part of its key: not reachable by organization and id."""
    return [
        name
        for name, table in tables.tables.items()
        if ORGANIZATION in table.columns and "id" in table.columns and not table.columns["id"].primary_key
    ]


def test_every_table_has_an_organization_or_is_on_the_list():
    assert tables_without_an_organization(metadata) == []


def test_every_id_is_a_key():
    assert tables_with_a_key_of_their_own(metadata) == []


def test_the_list_names_no_table_that_is_gone():
    assert sorted(set(INSTALLATION) - set(metadata.tables)) == []


@pytest.mark.parametrize(
    ("rule", "columns"),
    [
        (tables_without_an_organization, [Column("id", Text, primary_key=True)]),
        (tables_with_a_key_of_their_own, [Column(ORGANIZATION, Text, primary_key=True), Column("id", Text)]),
    ],
)
def test_what_breaks_it_is_named(rule, columns):
    bad = MetaData()
    Table("places", bad, *columns)
    assert rule(bad) == ["places"]

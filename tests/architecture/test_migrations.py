"""Migrations form one line, released ones stay as they are, and none would lock or break a database in use."""

import re
import zlib
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from migrations import compatibility, functions, upgrade
from scripts import migrations
from tests.architecture.source import ROOT

ADD_COLUMN = "alter table events add column place text not null;"
INDEX = "create index ix_events_type on events (type);"
RELEASED = {
    "0001": 535257852,
    "0002": 2701276011,
    "0003": 1672325357,
    "0004": 3535139919,
    "0005": 3246547879,
}
"""By revision, the CRC-32 of the SQL that it runs. Each release adds a line, and none ever changes:
databases that ran a revision would not run its new text.
"""


def history() -> list[str]:
    """Revisions from the oldest to the newest. Alembic refuses two heads by itself."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("path_separator", "os")
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def test_revisions_are_numbered_in_one_line():
    assert history() == [f"{number:04}" for number in range(1, len(history()) + 1)]


def test_a_released_revision_stays_as_it_is():
    rendered = {name: zlib.crc32(sql.encode()) for name, sql in migrations.revisions(upgrade.as_sql())}
    assert {name: rendered[name] for name in RELEASED} == RELEASED


def test_the_oldest_code_that_still_runs_is_named_by_a_revision():
    assert compatibility.OLDEST in history()
    assert compatibility.head() == history()[-1]


def test_no_revision_would_harm_a_database_in_use():
    assert migrations.main() == 0


def test_every_migration_runs_under_a_limit_on_locks_and_time():
    environment = (ROOT / "migrations/env.py").read_text()
    assert re.search(r'"lock_timeout": "[1-5]s"', environment)
    assert re.search(r'"statement_timeout": "\d+s"', environment)


@pytest.mark.parametrize(("sql", "said"), [(ADD_COLUMN, "required"), (INDEX, "concurrent")])
def test_a_change_that_locks_or_breaks_a_table_in_use_is_named(sql, said):
    assert said in migrations.complaints("0009", sql)


def test_what_runs_outside_the_transaction_of_its_revision_is_linted_as_such():
    aside = "create index concurrently if not exists ix_events_type on events (type);"
    assert migrations.complaints("0009", f"COMMIT;\n\n{aside}\n\nBEGIN;\n") == ""
    assert "concurrent" in migrations.complaints("0009", f"COMMIT;\n\n{INDEX}\n\nBEGIN;\n")


def test_an_index_on_a_table_of_the_same_revision_is_left_alone():
    assert migrations.complaints("0009", "create table places (type text);\ncreate index on places (type);") == ""


def test_each_revision_is_linted_alone():
    rendered = (
        "BEGIN;\n\n-- Running upgrade  -> 0001\n\ncreate table places (type text);\n\n"
        f"-- Running upgrade 0001 -> 0002\n\n{INDEX}\n\nCOMMIT;\n\n"
    )
    first, second = migrations.revisions(rendered)
    assert (first[0], second[0]) == ("0001", "0002")
    assert "places" in first[1]
    assert second[1].strip() == INDEX


def test_migrations_carry_no_way_back():
    """Going back is a new revision: what a contract step dropped can't be conjured up by a downgrade."""
    files = (ROOT / "migrations/versions").glob("*.py")
    assert [Path(file).name for file in files if "def downgrade" in file.read_text()] == []


def test_every_statement_beside_the_modules_is_applied():
    assert {str(file): rest for file in functions.files() if (rest := functions.rest(file.read_text()))} == {}


def test_a_function_that_could_not_be_applied_twice_is_named():
    assert functions.rest("-- Why.\ncreate function f() returns void language sql as $$\n$$;\n").startswith(
        "create function"
    )

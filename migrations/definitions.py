"""Whether a database has the functions that stand here. Released ones never change; in development they do, and a
revision's number says nothing of that. Their digest is kept as a comment on alembic's own table.
"""

from typing import Final

from sqlalchemy import Connection, text

KEPT: Final = "select obj_description('alembic_version'::regclass)"


class OutdatedDatabaseError(Exception):
    """The database has this code's revision and other functions."""

    def __init__(self) -> None:
        super().__init__(
            "the database was made by an older state of this code and has other functions; only data of development "
            "can be so: remove the data folder (ATELIER_DATA_DIR) or the database, and start again"
        )


def keep(connection: Connection, digest: str) -> None:
    """After a migration. `digest` is hexadecimal."""
    connection.execute(text(f"comment on table alembic_version is '{digest}'"))


def check(connection: Connection, digest: str) -> None:
    """Raises OutdatedDatabaseError."""
    if connection.scalar(text(KEPT)) != digest:
        raise OutdatedDatabaseError

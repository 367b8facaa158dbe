"""The SQL functions that lie beside their modules, with the grants that stand after each. They are no revisions: all of
them are applied anew whenever one has changed, after the revisions. A released signature never changes: `accept_v2` is
new, and what older code calls goes when `compatibility.OLDEST` does not name that code any more.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

ROOT: Final = Path(__file__).parent.parent

_STATEMENT: Final = re.compile(
    r"^create or replace function .*?^\$\$;$|^(?:grant|alter) .*?;$", re.MULTILINE | re.DOTALL
)
_COMMENT: Final = re.compile(r"^--.*$", re.MULTILINE)
_NAME: Final = re.compile(r"^create or replace function (\w+)\(")


def digest() -> str:
    """Of all of them, wherever they stand; comments between them don't count."""
    return hashlib.sha256("\n".join(sorted(_statements())).encode()).hexdigest()


def names() -> set[str]:
    """What code of this release calls."""
    return {match[1] for statement in _statements() if (match := _NAME.match(statement))}


def apply(connection: Connection) -> None:
    """In the transaction of the connection, over those that are there; sessions see the new ones from its commit on.

    The first round makes every name known, in whatever order; in the second one bodies are checked.
    """
    # A SECURITY DEFINER function must belong to the role whose policy sees every row; FORCE binds the owner too.
    connection.exec_driver_sql("grant create on schema public to atelier_system")
    for checked in ("off", "on"):
        connection.exec_driver_sql(f"set local check_function_bodies = {checked}")
        for statement in _statements():
            connection.exec_driver_sql(statement)
    connection.exec_driver_sql("revoke create on schema public from atelier_system")
    connection.exec_driver_sql("revoke execute on all functions in schema public from public")


def files() -> list[Path]:
    return sorted((ROOT / "domain").rglob("*.sql"))


def rest(sql: str) -> str:
    """What would not be applied of a file: nothing but comments, or it is written in another form."""
    return _COMMENT.sub("", _STATEMENT.sub("", sql)).strip()


def _statements() -> Iterator[str]:
    for file in files():
        yield from _STATEMENT.findall(file.read_text())

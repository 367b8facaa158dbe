"""Lints every migration, as the SQL that it would run, with squawk: what would lock or break a database in use.

Each revision is linted alone: an index on a table of the same revision harms nobody, on an older table it locks it.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from migrations import upgrade

_EDGE = re.compile(r"^(?:COMMIT|BEGIN);$", re.MULTILINE)
"""Of an `autocommit_block` in a revision."""
_HEAD = re.compile(r"^-- Running upgrade \S* -> (\S+)$", re.MULTILINE)


def revisions(sql: str) -> Iterator[tuple[str, str]]:
    """Each revision's name and its own SQL, out of alembic's rendering of them all."""
    _, *parts = _HEAD.split(sql.removesuffix("COMMIT;\n\n"))
    return zip(parts[0::2], parts[1::2], strict=True)


def complaints(name: str, sql: str) -> str:
    """What squawk has to say of one revision, and as such of what runs outside its transaction; empty when nothing."""
    within = ("--assume-in-transaction", "--no-assume-in-transaction")
    return "".join(_said(name, part, within[number % 2]) for number, part in enumerate(_EDGE.split(sql)))


def _said(name: str, sql: str, within: str) -> str:
    command = [str(Path(sys.executable).with_name("squawk")), within, "--reporter=gcc", f"--stdin-filepath={name}.sql"]
    said = subprocess.run(command, input=sql, text=True, capture_output=True, check=False)
    return (said.stdout + said.stderr) if said.returncode else ""


def main() -> int:
    found = [text for name, sql in revisions(upgrade.as_sql()) if (text := complaints(name, sql))]
    print("\n".join(found), end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

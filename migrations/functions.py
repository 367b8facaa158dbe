"""Loads the SQL functions that lie beside their modules. A released signature never changes: `accept_v2` is new."""

import hashlib
import re
from pathlib import Path

from alembic import op

ROOT = Path(__file__).parent.parent

_FUNCTION = re.compile(r"^create function .*?^\$\$;$", re.MULTILINE | re.DOTALL)


def digest() -> str:
    """Of all of them, wherever they stand; comments between them don't count."""
    statements = [each for file in (ROOT / "domain").rglob("*.sql") for each in _FUNCTION.findall(file.read_text())]
    return hashlib.sha256("\n".join(sorted(statements)).encode()).hexdigest()


def load(file: str) -> None:
    """One statement at a time: asyncpg prepares what it runs, and prepares one statement only."""
    for statement in _FUNCTION.findall((ROOT / file).read_text()):
        # `:name` would be read as a bind parameter
        op.execute(statement.replace(":", "\\:"))

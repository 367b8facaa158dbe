"""The rules of `invariants.sql`, and what breaks them."""

import re
from pathlib import Path
from typing import Final, Literal, cast, get_args

import asyncpg
import msgspec

Kind = Literal["lost", "doubled", "overcharged", "books", "balance"]

_HEADER: Final = re.compile(rf"^-- ({'|'.join(get_args(Kind))}): (.+)\n", re.MULTILINE)


class Rule(msgspec.Struct, frozen=True):
    """`sql` selects one text for each offender."""

    kind: Kind
    says: str
    sql: str


class Breach(msgspec.Struct, frozen=True, order=True):
    kind: Kind
    rule: str
    offender: str


def _load() -> tuple[Rule, ...]:
    _, *parts = _HEADER.split(Path(__file__).with_suffix(".sql").read_text())
    sections = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return tuple(Rule(cast("Kind", kind), says, sql.strip()) for kind, says, sql in sections)


RULES: Final = _load()
BALANCE: Final = next(rule for rule in RULES if rule.kind == "balance")


async def breaches(connection: asyncpg.Connection) -> list[Breach]:
    """As atelier_system, for which no row is hidden."""
    found = []
    for rule in RULES:
        found += [Breach(rule.kind, rule.says, row[0]) for row in await connection.fetch(rule.sql)]
    return found

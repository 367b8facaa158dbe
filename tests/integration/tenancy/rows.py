"""One row in every table of an organization, made from the tables' own descriptions: a new table is in it by itself."""

import os
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ARRAY, Column, Table, func
from sqlalchemy.dialects.postgresql import JSONB, insert

from domain.models import metadata
from runtime import clock, ids
from runtime.database import SystemTransaction
from runtime.orm import ORGANIZATION

TENANT_TABLES: Final = {table.name: table for table in metadata.sorted_tables if ORGANIZATION in table.columns}

_PREFIXES: Final = {
    "api_keys": "key", "assets": "ast", "audit_entries": "aud", "bulk_operations": "blk", "credit_entries": "ent",
    "deliveries": "dlv", "delivery_attempts": "att", "events": "evt", "files": "file", "generations": "gen",
    "notifications": "ntf", "webhook_endpoints": "whe",
}  # fmt: skip
_VALUES: Final[dict[str, dict[str, Any]]] = {
    "bulk_decisions": {"outcome": "replayed"},
    "bulk_operations": {"action": "replay"},
    "credit_entries": {"kind": "hold", "from_account": "available", "to_account": "held"},
    "events": {"type": "generation.accepted", "data": {"engine": "template", "template": "badge", "price": 1}},
    "feed": {"position": func.nextval("feed_position"), "type": "generation.accepted"},
    "generations": {"status": "queued", "request": {"input": {"label": "A1"}, "output": {"format": "png"}}},
    "organizations": {"plan": "free"},
}
"""What a row cannot do without and a description does not say."""


async def fill(tx: SystemTransaction, organization: str) -> dict[str, dict[str, Any]]:
    """The rows that were written, by table. An organization and its account may be there already."""
    written: dict[str, dict[str, Any]] = {}
    for table in TENANT_TABLES.values():
        written[table.name] = row = make(table, organization, written)
        await tx.execute(insert(table).values(row).on_conflict_do_nothing())
    return written


def make(table: Table, organization: str, others: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A row that fits; what refers to another table refers to the organization's row in `others`."""
    row = {ORGANIZATION: organization}
    for column in table.columns:
        if column.name not in row and not (column.nullable or column.server_default or column.identity):
            row[column.name] = _value(table, column)
    for constraint in table.foreign_key_constraints:
        for key in constraint.elements:
            if (other := others.get(key.column.table.name)) is not None:
                row[key.parent.name] = other[key.column.name]
    if table.name == "feed" and "events" in others:  # no foreign key, for speed
        row["event_id"] = others["events"]["id"]
    return row


def _value(table: Table, column: Column[Any]) -> Any:
    if (given := _VALUES.get(table.name, {}).get(column.name)) is not None:
        return given
    if isinstance(column.type, JSONB | ARRAY):
        return [] if isinstance(column.type, ARRAY) else {}
    kind = column.type.python_type
    if kind is str:
        return ids.new(_PREFIXES.get(table.name, "row") if column.name == "id" else "txt")
    return {int: 1, float: 1.0, bool: False, bytes: os.urandom(16)}.get(kind) or clock.machine()

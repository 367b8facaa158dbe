"""The next release of this very code, made from a copy of it: what one release may change and the other not know.

A table gets a column and an index by a real revision; a fact gets a second version; a new fact has a reaction and an
actor that only this release knows; a function has a second signature, and another one is new.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from migrations import compatibility
from migrations.functions import ROOT

PACKAGES: Final = ("api", "cli", "domain", "migrations", "queue_config", "runtime", "storage", "workers")
EVENT: Final = "webhook_endpoint.probed"
ACTOR: Final = "webhooks.probe"

_REVISION: Final = '''"""Probes are counted.

Revision: {number}, after: {before}
"""

import sqlalchemy as sa
from alembic import op

revision = "{number}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhook_endpoints", sa.Column("probes", sa.Integer(), nullable=True))
    with op.get_context().autocommit_block():
        op.create_index("ix_webhook_endpoints_probes", "webhook_endpoints", ["probes"], postgresql_concurrently=True)
'''
_FUNCTIONS: Final = """
create or replace function feed_after_v2(p_position bigint, p_limit integer)
returns table (pos bigint, organization_id text, type text, subject text, event_id text)
language sql stable as $$
    select f.position, f.organization_id, f.type, f.subject, f.event_id from feed f
    where f.position > p_position order by f.position limit p_limit
$$;
grant execute on function feed_after_v2 to atelier_system;

create or replace function note_probe(p_organization text, p_endpoint text) returns void
language sql as $$
    update webhook_endpoints e set probes = coalesce(e.probes, 0) + 1
    where (e.organization_id, e.id) = (p_organization, p_endpoint)
$$;
grant execute on function note_probe to atelier_app;
"""
_PROBING: Final = '''"""Only the next release knows of it."""

from sqlalchemy import text

from domain.tasks.outcomes import Task
from runtime.database import Transaction

_NOTE = text("select note_probe(:organization, :endpoint)")


async def note(tx: Transaction, task: Task) -> None:
    await tx.execute(_NOTE, {"organization": task.organization_id, "endpoint": task.subject})
'''
_EVENT: Final = f"""

class EndpointProbed(Event, frozen=True, kw_only=True):
    type = "{EVENT}"
    examples = {{1: {{}}}}
    public = False
"""
_ACTOR: Final = f"""
from domain.webhooks import probing

probe = actor("{ACTOR}", queue=queues.LIFECYCLE, prepare=probing.note)
"""
_REACTION: Final = """
from domain.webhooks.events import EndpointProbed

REACTIONS[EndpointProbed] = (to(webhooks.probe),)
"""
_TESTED: Final = '    type = "webhook_endpoint.tested"\n    examples = {1: {}}\n'
_TESTED_V2: Final = """    type = "webhook_endpoint.tested"
    version = 2
    examples = {1: {}, 2: {"by": "customer"}}

    by: str = "customer"
"""
_APPEND: Final = (
    "    [event_id] = await log.append(tx, organization, events.EndpointTested(subject=endpoint_id), cause=cause)\n"
)
_APPEND_BOTH: Final = (
    f"{_APPEND}    await log.append(tx, organization, events.EndpointProbed(subject=endpoint_id), cause=cause)\n"
)
_FEED: Final = "select * from feed_after($1, $2)"
_FEED_V2: Final = "select pos, organization_id, type, subject from feed_after_v2($1, $2)"


def make(folder: Path) -> Path:
    """The folder it lies in. Raises ValueError when this release has changed where the next one is to differ."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package)  # with its bytecode, which stays valid where nothing changes
    before = compatibility.head()
    number = f"{int(before) + 1:04}"
    _write(folder / f"migrations/versions/{number}_probes.py", _REVISION.format(number=number, before=before))
    _write(folder / "domain/webhooks/probing.sql", _FUNCTIONS)
    _write(folder / "domain/webhooks/probing.py", _PROBING)
    _append(folder / "domain/webhooks/events.py", _EVENT)
    _append(folder / "workers/actors/webhooks.py", _ACTOR)
    _append(folder / "workers/reactions.py", _REACTION)
    _replace(folder / "domain/webhooks/events.py", _TESTED, _TESTED_V2)
    _replace(folder / "domain/webhooks/endpoints.py", _APPEND, _APPEND_BOTH)
    _replace(folder / "api/server.py", _FEED, _FEED_V2)
    return folder


def environment(folder: Path) -> Mapping[str, str]:
    """What makes `python -m cli.main` that release, wherever it is started."""
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


def _write(path: Path, text: str) -> None:
    if path.exists():
        raise ValueError(f"{path.name} is there already")
    path.write_text(text)


def _append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if text.count(old) != 1:
        raise ValueError(f"{path} has changed: {old!r} is there {text.count(old)} times")
    path.write_text(text.replace(old, new))

"""The dead letters, found by what they have in common, and one of them with all that is known of it."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, Select, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSONPATH

from domain.accounts.models import OrganizationRow
from domain.events.models import EventRow
from domain.pages import Page, PageRequest
from domain.tasks.dead_letters import DeadLetter
from domain.tasks.errors import DeadLetterNotFound
from domain.tasks.models import TaskRow
from runtime.database import SystemTransaction, row_dict

Cause = Literal["attempts", "deaths"]
"""What ended it: a failed try, the last of its attempts, or the death of another worker."""

_OWN_FAILURES: Final = '$[*] ? (@.kind != "refusal")'
_IS_DEAD: Final = TaskRow.state == literal_column("'dead'")
"""Written out: for a parameter no plan that serves any value could use the index of the dead."""
BY_ID: Final[ColumnElement[int]] = TaskRow.id + literal_column("0")
"""The expression of the index of the dead, or PostgreSQL may look for the few of them along the ids of all tasks."""

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that is given has to fit. `reason`: stands in one of its failures, in capitals or not."""

    queue: Text | None = None
    actor: Text | None = None
    organization_id: Text | None = None
    cause: Cause | None = None
    reason: Text | None = None
    died_after: Moment | None = None
    died_before: Moment | None = None


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """`reason` is that of its last failure, `refusal` why it was not replayed when somebody wanted it; `trail` is the
    operator's page about the generation that it came from. `failures`: its failed tries, deaths and the last refusal.
    """

    id: int
    organization_id: str
    organization_name: str
    queue: str
    actor: str
    target: str
    subject: str
    event_id: str
    event_type: str
    occurred_at: datetime
    correlation_id: str
    trail: str | None
    cause: Cause
    reason: str
    refusal: str | None
    attempts: int
    deaths: int
    failures: list[dict[str, Any]]
    created_at: datetime
    died_at: datetime


async def page(tx: SystemTransaction, only: Filter, wanted: PageRequest) -> Page[Letter]:
    """Newest first; `after` and `last` are tasks' numbers."""
    query = _letters().where(*fitting(only))
    if wanted.after is not None:
        query = query.where(int(wanted.after) > BY_ID)
    found = list(await tx.execute(query.order_by(BY_ID.desc()).limit(wanted.limit + 1)))
    kept = [_letter(row_dict(row)) for row in found[: wanted.limit]]
    return Page(kept, str(kept[-1].id) if len(found) > wanted.limit else None)


async def get(tx: SystemTransaction, task_id: int) -> Letter:
    """Raises DeadLetterNotFound."""
    row = (await tx.execute(_letters().where(*fitting(Filter()), TaskRow.id == task_id))).one_or_none()
    if row is None:
        raise DeadLetterNotFound(f"there is no dead task {task_id}")
    return _letter(row_dict(row))


async def oldest(tx: SystemTransaction, only: Filter, *, after: int = 0, limit: int = 100) -> list[DeadLetter]:
    """Oldest first; `after` is the id of the last one of the page before."""
    return await some(tx, [*fitting(only), after < BY_ID], limit=limit)


async def some(tx: SystemTransaction, conditions: list[ColumnElement[bool]], *, limit: int) -> list[DeadLetter]:
    """Oldest first."""
    columns = (getattr(TaskRow, name) for name in DeadLetter.__struct_fields__)
    query = select(*columns).where(*conditions).order_by(BY_ID).limit(limit)
    return [DeadLetter(**row_dict(row)) for row in await tx.execute(query)]


async def count(tx: SystemTransaction, only: Filter, *, cap: int | None = None) -> int:
    """No further than `cap`."""
    some_of_them = select(TaskRow.id).where(*fitting(only)).limit(cap).subquery()
    return int(await tx.scalar(select(func.count()).select_from(some_of_them)) or 0)


def fitting(only: Filter) -> list[ColumnElement[bool]]:
    named = {name: getattr(only, name) for name in ("queue", "actor", "organization_id")}
    equal = [getattr(TaskRow, name) == value for name, value in named.items() if value is not None]
    conditions: list[ColumnElement[bool]] = [_IS_DEAD, *equal]
    if only.cause is not None:
        last = func.jsonb_path_query_array(TaskRow.failures, cast(_OWN_FAILURES, JSONPATH)).op("->")(-1)
        by_death = func.coalesce(last.op("->>")("kind") == "death", False)
        conditions.append(by_death if only.cause == "deaths" else ~by_death)
    if only.reason is not None:
        failure = func.jsonb_array_elements(TaskRow.failures).table_valued("value")
        told = func.strpos(func.lower(failure.c.value.op("->>")("reason")), only.reason.lower()) > 0
        conditions.append(select(1).select_from(failure).where(told).exists())
    if only.died_after is not None:
        conditions.append(TaskRow.ended_at > only.died_after)
    if only.died_before is not None:
        conditions.append(TaskRow.ended_at < only.died_before)
    return conditions


def _letters() -> Select[*tuple[Any, ...]]:
    told = (EventRow.organization_id == TaskRow.organization_id) & (EventRow.id == TaskRow.event_id)
    named = OrganizationRow.organization_id == TaskRow.organization_id
    return (
        select(
            TaskRow.id, TaskRow.organization_id, OrganizationRow.name.label("organization_name"), TaskRow.queue,
            TaskRow.actor, TaskRow.target, TaskRow.subject, TaskRow.event_id, EventRow.type.label("event_type"),
            EventRow.occurred_at, EventRow.correlation_id, TaskRow.attempts, TaskRow.deaths, TaskRow.failures,
            TaskRow.created_at, TaskRow.ended_at.label("died_at"),
        )
        .join(EventRow, told)
        .outerjoin(OrganizationRow, named)
    )  # fmt: skip


def _letter(row: dict[str, Any]) -> Letter:
    failures = [entry for entry in row["failures"] if entry["kind"] != "refusal"]
    refusals: list[str] = [entry["reason"] for entry in row["failures"] if entry["kind"] == "refusal"]
    origin = row["correlation_id"]
    return Letter(
        **row | {"organization_name": row["organization_name"] or row["organization_id"]},
        trail=f"/trail/{origin}" if origin.startswith("gen_") else None,
        cause="deaths" if failures and failures[-1]["kind"] == "death" else "attempts",
        reason=failures[-1]["reason"] if failures else "",
        refusal=refusals[-1] if refusals else None,
    )

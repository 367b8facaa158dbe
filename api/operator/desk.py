"""What an operator decides, by program or by page; the relay hears of it at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Literal

from litestar.params import QueryParameter

from api import errors
from api.dependencies import Resources
from api.operator import snapshots
from domain.dead_letters import decisions, operations
from domain.dead_letters.letters import Cause, Filter
from domain.dead_letters.operations import Operation, Wanted
from domain.idempotency import keys
from domain.idempotency.keys import Answer, Key
from domain.pages import PageRequest
from domain.tasks import dead_letters
from domain.tasks.dead_letters import DeadLetter
from runtime import ids

LETTERS = "dead_letters"
"""The list's name in its cursors."""


async def provide_filter(
    *,
    queue: Annotated[str, QueryParameter(max_length=200, description="Only tasks of this queue.")] = "",
    actor: Annotated[str, QueryParameter(max_length=200, description="Only tasks of this actor.")] = "",
    organization_id: Annotated[str, QueryParameter(max_length=200, description="Only tasks of this one.")] = "",
    cause: Annotated[Cause | Literal[""], QueryParameter(description="What they died of.")] = "",
    reason: Annotated[str, QueryParameter(max_length=200, description="Stands in one of their failures.")] = "",
    died_after: Annotated[datetime | None, QueryParameter(description="UTC, unless it says otherwise.")] = None,
    died_before: Annotated[datetime | None, QueryParameter(description="UTC, unless it says otherwise.")] = None,
) -> Filter:
    return Filter(
        queue=queue or None,
        actor=actor or None,
        organization_id=organization_id or None,
        cause=cause or None,
        reason=reason or None,
        died_after=_utc(died_after),
        died_before=_utc(died_before),
    )


async def replay(resources: Resources, task_id: int) -> None:
    """Raises DeadLetterNotFound, and what the domain says against it."""
    async with _deciding(resources):
        await decisions.replay(resources.database, await _letter(resources, task_id))


async def discard(resources: Resources, task_id: int, reason: str) -> None:
    """Raises DeadLetterNotFound."""
    async with _deciding(resources):
        await decisions.discard(resources.database, await _letter(resources, task_id), reason)


async def start(resources: Resources, wanted: Wanted, operation_id: str | None = None) -> Operation:
    async with _deciding(resources):
        started = await operations.start(
            resources.database, snapshots.across(resources), wanted, by=decisions.OPERATOR, operation_id=operation_id
        )
    return await operation(resources, started)


async def operation_under(resources: Resources, key: Key) -> str:
    """The id that goes with a key. It is kept before its operation begins: who was not answered comes again, and
    `start` then starts it or finds it started. Raises KeyReused, KeyBusy.
    """
    async with resources.database.transaction(operations.HOME) as tx:
        kept = await keys.begin(tx, operations.HOME, key, resources.keyring)
        if kept is not None:
            return kept.body.decode()
        operation_id = ids.new("blk")
        await keys.finish(tx, operations.HOME, key, Answer(202, operation_id.encode()), resources.keyring)
    return operation_id


async def cancel(resources: Resources, operation_id: str) -> Operation:
    """Raises BulkOperationNotFound, BulkOperationOver."""
    await operations.cancel(resources.database, operation_id, by=decisions.OPERATOR)
    return await operation(resources, operation_id)


async def operation(resources: Resources, operation_id: str) -> Operation:
    """Raises BulkOperationNotFound."""
    async with snapshots.opened(resources) as tx:
        return await operations.get(tx, operation_id)


def numbered(wanted: PageRequest) -> PageRequest:
    """Raises CursorInvalid."""
    if wanted.after is not None and not wanted.after.isdecimal():
        raise errors.CursorInvalid
    return wanted


@asynccontextmanager
async def _deciding(resources: Resources) -> AsyncIterator[None]:
    yield
    resources.nudge.send()


async def _letter(resources: Resources, task_id: int) -> DeadLetter:
    async with snapshots.opened(resources) as tx:
        return await dead_letters.one(tx, task_id)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment

"""From accepted to the one end. The generation's row decides: each end is one conditional update, and only the
transaction whose update found the row open settles or releases the hold and says so.
"""

from typing import Any

import msgspec
from sqlalchemy import Row, func, select, update

from domain.events import log
from domain.events.models import EventRow
from domain.generations import events, pictures, results
from domain.generations.errors import GenerationNotFound, GenerationNotReplayable, GenerationOver
from domain.generations.models import OPEN, GenerationRow
from domain.generations.results import Image
from domain.subscriptions import credits, plans
from domain.tasks import claims
from domain.tasks.dead_letters import DeadLetter
from domain.tasks.events import TaskDied
from domain.tasks.outcomes import Done, Fail, Outcome, Task
from domain.templates.geometry import Output
from runtime import ids
from runtime.database import Transaction

RENDER = "generations.render"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What `engines.render` needs to know: the request, and where its uploaded pictures lie. `ahead` of others that
    wait to be drawn; `identity` and `made`: what is known of an image without pictures, when it was looked for already.
    """

    organization_id: str
    generation_id: str
    template: str
    input: dict[str, Any]
    output: Output
    uploads: dict[str, pictures.Upload]
    ahead: bool = False
    identity: str | None = None
    made: Image | None = None


async def start(tx: Transaction, task: Task) -> Plan | None:
    """Marks it running. None when it has ended meanwhile (cancelled before its task was there)."""
    row = (
        await tx.execute(
            update(GenerationRow)
            .where(GenerationRow.id == task.subject, GenerationRow.status.in_(OPEN))
            .values(status="running", started_at=func.coalesce(GenerationRow.started_at, func.now()))
            .returning(GenerationRow.template, GenerationRow.request)
        )
    ).one_or_none()
    if row is None:
        return None
    return Plan(
        organization_id=task.organization_id,
        generation_id=task.subject,
        template=row.template,
        input=row.request["input"],
        output=msgspec.convert(row.request["output"], Output),
        uploads=await pictures.uploads(tx, row.template, row.request["input"]),
        ahead=task.ahead,
    )


async def finish(tx: Transaction, task: Task, plan: Plan, outcome: Outcome) -> None:
    """Succeeded with its image, or failed for good. A try that only failed for now leaves the generation running."""
    match outcome:
        case Done(result=Image() as image):
            await _succeed(tx, task, image)
        case Fail(code=code, detail=detail):
            await _fail(tx, task.organization_id, plan.generation_id, code=code, detail=detail, cause=task.cause)


async def abandon(tx: Transaction, task: Task) -> None:
    """Reaction to the death of the render task: the customer is told and not charged."""
    died = task.event
    assert isinstance(died, TaskDied)  # noqa: S101 - REACTIONS sends nothing else here
    detail = "The image could not be made, although it was tried several times. Nothing was charged."
    await _fail(tx, task.organization_id, task.subject, code="rendering_failed", detail=detail, cause=task.cause)


async def withdraw(tx: Transaction, task: Task) -> None:
    """Reaction to a cancellation: its tasks are cancelled, and a running one loses its lease."""
    origin = select(EventRow.id).where(
        EventRow.organization_id == task.organization_id,
        EventRow.subject == task.subject,
        EventRow.type.in_((events.GenerationAccepted.type, events.GenerationRetried.type)),
    )
    await claims.withdraw(tx, list(await tx.scalars(origin)), RENDER)


async def cancel(tx: Transaction, organization: str, generation_id: str, *, by: str, traceparent: str | None) -> None:
    """Doing it twice is fine. Raises GenerationNotFound, and GenerationOver when it succeeded or failed before."""
    row = await _end(tx, generation_id, status="cancelled", charged=0)
    if row is None:
        status = await tx.scalar(select(GenerationRow.status).where(GenerationRow.id == generation_id))
        if status is None:
            raise GenerationNotFound
        if status != "cancelled":
            raise GenerationOver(f"the generation has {status} already")
        return
    await _release(tx, organization, generation_id, row)
    cause = log.Cause(generation_id, traceparent=traceparent)
    await log.append(tx, organization, events.GenerationCancelled(subject=generation_id, by=by), cause=cause)


async def retry(tx: Transaction, organization: str, generation_id: str) -> None:
    """Another chance for a failed generation: a new hold (or InsufficientCredits), and the event that starts it.

    Raises GenerationNotReplayable.
    """
    price = await tx.scalar(
        select(GenerationRow.price)
        .where(GenerationRow.id == generation_id, GenerationRow.status == "failed")
        .with_for_update()
    )
    if price is None:
        raise GenerationNotReplayable
    hold_id = await credits.hold(tx, organization, generation_id, price)
    await tx.execute(
        update(GenerationRow)
        .where(GenerationRow.id == generation_id)
        .values(status="queued", hold_id=hold_id, ended_at=None, charged=None, failure_code=None, failure_detail=None)
    )
    await log.append(tx, organization, events.GenerationRetried(subject=generation_id, price=price))


async def replay(tx: Transaction, letter: DeadLetter) -> None:
    """Of a dead render. Raises as `retry` does."""
    await retry(tx, letter.organization_id, letter.subject)


async def _succeed(tx: Transaction, task: Task, image: Image) -> None:
    free = image.reused and await plans.reuse_is_free(tx)
    row = await _end(tx, task.subject, status="succeeded", reused=image.reused, charged=0 if free else None)
    if row is None:
        return
    if free:
        await _release(tx, task.organization_id, task.subject, row)
    else:
        await credits.settle(
            tx, task.organization_id, hold_id=row.hold_id, generation_id=task.subject, amount=row.price
        )
    asset_id = ids.new("ast")
    await results.add(tx, task.organization_id, task.subject, asset_id, image)
    succeeded = events.GenerationSucceeded(
        subject=task.subject, asset=asset_id, credits=0 if free else row.price, reused=image.reused
    )
    await log.append(tx, task.organization_id, succeeded, cause=task.cause)


async def _fail(
    tx: Transaction, organization: str, generation_id: str, *, code: str, detail: str, cause: log.Cause
) -> None:
    row = await _end(tx, generation_id, status="failed", charged=0, failure_code=code, failure_detail=detail)
    if row is not None:
        await _release(tx, organization, generation_id, row)
        await log.append(tx, organization, events.GenerationFailed(subject=generation_id, code=code), cause=cause)


async def _release(tx: Transaction, organization: str, generation_id: str, row: Row[str, int]) -> None:
    await credits.release(tx, organization, hold_id=row.hold_id, generation_id=generation_id, amount=row.price)


async def _end(tx: Transaction, generation_id: str, *, charged: int | None, **values: Any) -> Row[str, int] | None:
    """The row if it was still open. `charged` None: its price."""
    ended = await tx.execute(
        update(GenerationRow)
        .where(GenerationRow.id == generation_id, GenerationRow.status.in_(OPEN))
        .values(ended_at=func.now(), charged=GenerationRow.price if charged is None else charged, **values)
        .returning(GenerationRow.hold_id, GenerationRow.price)
    )
    return ended.one_or_none()

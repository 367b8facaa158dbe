"""The two database steps of a render, for many generations of several organizations at once. What does not fit the
common case is left to `lifecycle`, one by one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import asyncpg
import msgspec

from domain.generations import engines, pictures
from domain.generations.lifecycle import Plan
from domain.generations.results import Image, Wanted
from domain.subscriptions import credits
from domain.tasks.outcomes import CarryOn, Done, Outcome, Task
from domain.templates import catalogue
from domain.templates.geometry import Output
from runtime import failpoints, ids
from runtime.database import SystemDatabase
from runtime.settings import Settings

CLAIM: Final = "claim_and_start"
"""The SQL function that claims tasks and begins what is to be drawn."""
_START = "select * from start_generations($1, $2)"
_FIND = "select * from find_images($1, $2)"
_RECORD = "select * from record_images($1::jsonb)"
_RECORD_AND_TELL = "select * from record_and_tell_images($1::jsonb, $2::jsonb, $3)"

FEW: Final = 2
"""Images at once whose webhooks are sent on from here. Of more the relay makes less work."""


async def start(system: SystemDatabase, tasks: Sequence[Task], *, settings: Settings) -> list[Plan | None]:
    """As `lifecycle.start` for each, and images that were made before are found. None: it has ended, somebody has
    locked it, or its input names uploads, which need its organization.
    """
    started = await _started(system, tasks)
    plans = [_plan(task, started.get((task.organization_id, task.subject)), settings) for task in tasks]
    known = [plan for plan in plans if plan is not None and plan.identity is not None]
    images = await find(system, [Wanted(plan.organization_id, plan.identity or "") for plan in known]) if known else []
    made = {plan.generation_id: image for plan, image in zip(known, images, strict=True) if image is not None}
    return [plan and msgspec.structs.replace(plan, made=made.get(plan.generation_id)) for plan in plans]


async def find(system: SystemDatabase, wanted: Sequence[Wanted]) -> list[Image | None]:
    """The images that were made before, for those that were."""
    rows = await system.call_many(_FIND, [each.organization_id for each in wanted], [each.identity for each in wanted])
    found = {(row["organization_id"], row["identity"]): row for row in rows}
    return [_image(found.get((each.organization_id, each.identity))) for each in wanted]


def fits(_plan: Plan, outcome: Outcome) -> bool:
    """Whether `record` is for this end: a new image, which is nearly every one."""
    return isinstance(outcome, Done) and isinstance(outcome.result, Image) and not outcome.result.reused


async def record(
    system: SystemDatabase, ended: Sequence[tuple[Task, Plan, Outcome]], *, carry_on: CarryOn
) -> list[bool]:
    """As `lifecycle.finish` for each, in one flushed statement; false for a task that was not ours any more."""
    text = msgspec.json.encode([_result(task, outcome) for task, _, outcome in ended]).decode()
    if carry_on.room and len(ended) <= FEW:
        rows = await system.call_many(_RECORD_AND_TELL, text, carry_on.reaction, carry_on.room)
        if told := [row["told"] for row in rows if row["told"] is not None]:
            failpoints.hit("worker.before_carry_on")
            carry_on.send(told)
    else:
        rows = await system.call_many(_RECORD, text)
    ours = {row["task"]: row["settled"] for row in rows if row["task"] is not None}
    credits.MOVED.labels("settle").inc(sum(ours.values()))
    return [task.id in ours for task, _, _ in ended]


async def _started(system: SystemDatabase, tasks: Sequence[Task]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Template and request, by organization and generation: those that the claim has begun are not asked for again."""
    begun: dict[tuple[str, str], Mapping[str, Any]] = {
        (task.organization_id, task.subject): task.begun for task in tasks if task.begun is not None
    }
    left = [task for task in tasks if task.begun is None]
    if not left:
        return begun
    rows = await system.call_many(_START, [task.organization_id for task in left], [task.subject for task in left])
    return begun | {(row["organization_id"], row["id"]): row for row in rows}


def _plan(task: Task, row: Mapping[str, Any] | None, settings: Settings) -> Plan | None:
    if row is None:
        return None
    template, request = row["template"], row["request"]
    references = catalogue.pictures(catalogue.get(template), request["input"])
    if any(pictures.is_upload(reference) for reference in references.values()):
        return None
    plan = Plan(
        organization_id=task.organization_id,
        generation_id=task.subject,
        template=template,
        input=request["input"],
        output=msgspec.convert(request["output"], Output),
        uploads={},
        ahead=task.ahead,
    )
    return plan if references else msgspec.structs.replace(plan, identity=engines.identity(plan, {}, settings))


def _image(row: asyncpg.Record | None) -> Image | None:
    if row is None:
        return None
    fields = {name: row[name] for name in Image.__struct_fields__ if name != "reused"}
    return Image(**fields, reused=True)


def _result(task: Task, outcome: Outcome) -> dict[str, object]:
    image: Image = cast(Done, outcome).result  # `fits` has looked
    return {
        "task": task.id,
        "token": task.lease_token,
        "organization": task.organization_id,
        "generation": task.subject,
        "asset": ids.new("ast"),
        "entry": ids.new("ent"),
        "event": ids.new("evt"),
        "correlation": task.correlation_id,
        "causation": task.event_id,
        "traceparent": task.traceparent,
        **msgspec.structs.asdict(image),
    }

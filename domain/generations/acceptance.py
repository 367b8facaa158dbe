"""Accepting a generation: everything that must be true before the 202, in one call to `accept_generation`."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import asyncpg
import msgspec
from sqlalchemy import select

from domain.errors import DomainError, FieldError
from domain.generations import errors, views
from domain.generations.engines import template as template_engine
from domain.generations.views import GenerationView
from domain.idempotency.errors import KeyBusy, KeyReused
from domain.idempotency.keys import Key
from domain.idempotency.models import IdempotencyKey
from domain.subscriptions import credits
from domain.subscriptions.errors import InsufficientCredits
from domain.tasks.outcomes import CarryOn
from domain.templates import catalogue
from domain.templates.geometry import Canvas, Output
from runtime import clock, failpoints, ids
from runtime.database import Database

PROMPT_TEMPLATE: Final = "prompt-card"
PRICE: Final = 1
"""Credits for one image of the template engine."""
EARLIEST_RUN: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""What is earlier is a mistake; any other time that is past means now."""
FURTHEST_RUN: Final = timedelta(days=365)
LARGEST_METADATA: Final = 16 * 1024
"""Bytes of its JSON."""

ACCEPT: Final = (
    "select outcome, replay from accept_generation($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, "
    "$16, $17, $18, $19)"
)
_ACCEPT_AND_DISPATCH: Final = (
    "select outcome, replay, task, ahead, crowded from accept_and_dispatch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
    "$11, $12, $13, $14, $15, $16, $17, $18, $19, $20::jsonb, $21)"
)
_ACCEPT_MANY = (
    "select accept_generations($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)"
)


Prompt = Annotated[str, msgspec.Meta(min_length=1, max_length=600, description="As long as `prompt-card` takes it.")]
Moment = Annotated[
    datetime,
    msgspec.Meta(
        description="RFC 3339 with a time zone, from 2000 to a year ahead. A time that is past means now.",
        extra_json_schema={"format": "date-time"},
    ),
]
Project = Annotated[
    str,
    msgspec.Meta(
        max_length=200,
        pattern=r"^(?![\s\S]*[\x00-\x1f\x7f-\x9f])",
        description="Any name without control characters; lists can be filtered by it.",
    ),
]
Metadata = Annotated[
    dict[
        Annotated[str, msgspec.Meta(max_length=40)],
        Annotated[str, msgspec.Meta(max_length=500)] | int | float | bool,
    ],
    msgspec.Meta(max_length=50, description="Values of your own, given back as they came; 16 KB as JSON in all."),
]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `template` with its `input`, or a `prompt` alone, which becomes a designed card of its words."""

    engine: str = "template"
    template: str | None = None
    input: dict[str, Any] | None = None
    prompt: Prompt | None = None
    output: Output = Output()
    run_at: Moment | None = None
    project: Project | None = None
    metadata: Metadata = {}


class Checked(msgspec.Struct, frozen=True):
    """A request that can be accepted: template, input and size are decided."""

    request: Request
    template: str
    input: dict[str, Any]
    canvas: Canvas


class Accepted(msgspec.Struct, frozen=True):
    """`body` is the answer's bytes; `replayed` when the same Idempotency-Key had been accepted before. `task` is on its
    way to a worker already, if somebody sends its message; `ahead` of others, or in its turn. `crowded`: others were on
    theirs.
    """

    body: bytes
    replayed: bool
    task: int | None = None
    ahead: bool = False
    crowded: bool = False


def check(request: Request) -> Checked:
    """Raises a refusal that names every field that does not fit."""
    if request.engine != "template":
        raise errors.EngineUnknown(
            f"there is no engine {request.engine!r:.60}", fields=(FieldError("/engine", "must be template"),)
        )
    if request.run_at is not None:
        _check_run_at(request.run_at)
    _check_metadata(request.metadata)
    name, given = _template_and_input(request)
    template = catalogue.get(name)
    catalogue.check(template, given)
    return Checked(request, name, given, template_engine.canvas(name, request.output))


class Draft(msgspec.Struct, frozen=True):
    """One request as the database takes it: `arguments` are those of `accept_generation` after the organization.
    `for_now`: it names no time.
    """

    body: bytes
    arguments: tuple[object, ...]
    for_now: bool


def draft(checked: Checked, *, key: Key | None, traceparent: str | None, api_key: str | None = None) -> Draft:
    """Ids, time and answer are decided here. `api_key` is the id of the one that the request came with."""
    generation_id = ids.new("gen")
    now = ids.made_at(generation_id)  # one and the same, so that lists find times along their primary key
    view = _answer(checked, generation_id, now)
    body = msgspec.json.encode(view)
    arguments = (*_key(key), body, *_rows(checked, view, now, api_key), traceparent)
    return Draft(body, arguments, checked.request.run_at is None)


async def accept(
    database: Database, organization: str, checked: Checked, *, key: Key | None, traceparent: str | None
) -> Accepted:
    """One request by itself. Raises InsufficientCredits, KeyReused, KeyBusy."""
    return await accept_draft(database, organization, draft(checked, key=key, traceparent=traceparent))


async def accept_draft(database: Database, organization: str, draft: Draft) -> Accepted:
    """One transaction. Raises InsufficientCredits, KeyReused, KeyBusy."""
    return await _call(database, organization, draft, ACCEPT)


async def accept_and_dispatch(database: Database, organization: str, draft: Draft, carry_on: CarryOn) -> Accepted:
    """As `accept_draft`, of one for now; with its task where nobody waits."""
    return await _call(database, organization, draft, _ACCEPT_AND_DISPATCH, carry_on.reaction, carry_on.room)


async def _call(database: Database, organization: str, draft: Draft, statement: str, *more: object) -> Accepted:
    try:
        row = await database.call(statement, organization, *draft.arguments, *more)
    except asyncpg.PostgresError as error:
        if (refused := refusal(error)) is not None:
            raise refused from error
        raise
    if row is None or row["outcome"] == 0:
        credits.HELD.inc(PRICE)
        going = {name: row[name] for name in ("task", "ahead", "crowded")} if row and more else {}
        return Accepted(draft.body, replayed=False, **going)
    if row["outcome"] == 2:
        raise KeyReused
    failpoints.hit("api.before_replay")
    return Accepted(row["replay"], replayed=True)


async def accept_drafts(database: Database, organization: str, drafts: Sequence[Draft]) -> list[Accepted | None]:
    """Several of one organization in one transaction; None for one that has to be asked alone.

    Raises asyncpg's errors; one that the server said means that nothing was accepted.
    """
    columns = [list(column) for column in zip(*(draft.arguments for draft in drafts), strict=True)]
    row = await database.call(_ACCEPT_MANY, organization, *columns)
    taken = row[0] if row is not None else []
    credits.HELD.inc(PRICE * sum(taken))
    return [
        Accepted(draft.body, replayed=False) if accepted else None
        for draft, accepted in zip(drafts, taken, strict=True)
    ]


async def replay(database: Database, organization: str, key: Key) -> Accepted | None:
    """The answer that was given under this key before. Raises KeyReused."""
    kept = select(IdempotencyKey.fingerprint, IdempotencyKey.body).where(
        IdempotencyKey.organization_id == organization, IdempotencyKey.scope == key.scope, IdempotencyKey.key == key.key
    )
    async with database.read_only(organization) as tx:
        row = (await tx.execute(kept)).one_or_none()
    if row is None:
        return None
    if row.fingerprint != key.fingerprint:
        raise KeyReused
    return Accepted(row.body, replayed=True)


def refusal(error: asyncpg.PostgresError) -> DomainError | None:
    """What the function says to the caller; None for a fault."""
    if error.sqlstate == "AT402":
        return InsufficientCredits()
    return KeyBusy(retry_after=1) if isinstance(error, asyncpg.LockNotAvailableError) else None


def _template_and_input(request: Request) -> tuple[str, dict[str, Any]]:
    if request.prompt is not None:
        if request.template is not None or request.input is not None:
            raise errors.RequestInvalid(
                "give either a prompt or a template with its input",
                fields=(FieldError("/prompt", "cannot stand beside template or input"),),
            )
        return PROMPT_TEMPLATE, {"prompt": request.prompt}
    if request.template is None:
        raise errors.RequestInvalid(
            "there is neither a template nor a prompt",
            fields=(FieldError("/template", "is required (or give a prompt instead)"),),
        )
    return request.template, request.input or {}


def _check_run_at(run_at: datetime) -> None:
    if run_at.tzinfo is None:
        raise errors.RequestInvalid("run_at has no time zone", fields=(FieldError("/run_at", "needs an offset or Z"),))
    if run_at < EARLIEST_RUN:
        text = f"is before {EARLIEST_RUN:%Y-%m-%d}"
        raise errors.RequestInvalid("run_at is too long ago", fields=(FieldError("/run_at", text),))
    if run_at > clock.product() + FURTHEST_RUN:
        raise errors.RequestInvalid(
            "run_at is too far ahead", fields=(FieldError("/run_at", f"is more than {FURTHEST_RUN.days} days away"),)
        )


def _check_metadata(metadata: Metadata) -> None:
    if metadata and len(msgspec.json.encode(metadata)) > LARGEST_METADATA:
        text = f"has more than {LARGEST_METADATA} bytes as JSON"
        raise errors.RequestInvalid("metadata is too large", fields=(FieldError("/metadata", text),))


def is_scheduled(request: Request) -> bool:
    """For a later time."""
    return request.run_at is not None and request.run_at > clock.product()


def _answer(checked: Checked, generation_id: str, now: datetime) -> GenerationView:
    request = checked.request
    return GenerationView(
        id=generation_id,
        status="scheduled" if is_scheduled(request) else "queued",
        engine=request.engine,
        template=checked.template,
        input=checked.input,
        output=views.output(checked.canvas),
        project=request.project,
        metadata=request.metadata,
        run_at=clock.rfc3339(request.run_at) if request.run_at else None,
        created_at=clock.rfc3339(now),
        started_at=None,
        ended_at=None,
        assets=[],
        reused=False,
        credits=None,
        error=None,
    )


def _key(key: Key | None) -> tuple[object, ...]:
    return (key.scope, key.key, key.fingerprint) if key else (None, None, None)


def _rows(checked: Checked, view: GenerationView, now: datetime, api_key: str | None) -> tuple[object, ...]:
    event = {"engine": view.engine, "template": view.template, "price": PRICE}
    if view.run_at is not None:
        event["run_at"] = view.run_at
    if api_key is not None:
        event["api_key"] = api_key
    return (
        view.id,
        view.status,
        view.engine,
        view.template,
        _json({"input": view.input, "output": checked.request.output}),
        view.project,
        _json(view.metadata),
        checked.request.run_at,
        now,
        PRICE,
        ids.new("ent"),
        ids.new("evt"),
        _json(event),
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()

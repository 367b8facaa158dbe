"""Accepting a generation: everything that must be true before the 202, in one call to `accept_generation`."""

from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import msgspec

from domain.errors import DomainError, FieldError
from domain.generations import errors
from domain.generations.engines import template as template_engine
from domain.generations.views import GenerationView
from domain.idempotency.errors import KeyBusy, KeyReused
from domain.idempotency.keys import Key
from domain.subscriptions import credits
from domain.subscriptions.errors import InsufficientCredits
from domain.templates import catalogue
from domain.templates.geometry import Output
from runtime import clock, ids
from runtime.database import Database

PROMPT_TEMPLATE: Final = "prompt-card"
PRICE: Final = 1
"""Credits for one image of the template engine."""
FURTHEST_RUN: Final = timedelta(days=365)

_ACCEPT = (
    "select outcome, replay from accept_generation($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, "
    "$16, $17, $18, $19)"
)


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `template` with its `input`, or a `prompt` alone, which becomes a designed card of its words."""

    engine: str = "template"
    template: str | None = None
    input: dict[str, Any] | None = None
    prompt: str | None = None
    output: Output = Output()
    run_at: datetime | None = None
    project: str | None = None
    metadata: dict[str, Any] = {}


class Checked(msgspec.Struct, frozen=True):
    """A request that can be accepted: template and input are decided."""

    request: Request
    template: str
    input: dict[str, Any]


class Accepted(msgspec.Struct, frozen=True):
    """`body` is the answer's bytes; `replayed` when the same Idempotency-Key had been accepted before."""

    body: bytes
    replayed: bool


def check(request: Request) -> Checked:
    """Raises a refusal that names every field that does not fit."""
    if request.engine != "template":
        raise errors.EngineUnknown(
            f"there is no engine {request.engine!r:.60}", fields=(FieldError("/engine", "must be template"),)
        )
    if request.run_at is not None:
        _check_run_at(request.run_at)
    name, given = _template_and_input(request)
    template = catalogue.get(name)
    catalogue.check(template, given)
    template_engine.canvas(name, request.output)
    return Checked(request, name, given)


async def accept(
    database: Database,
    organization: str,
    checked: Checked,
    *,
    key: Key | None,
    traceparent: str | None,
    api_key: str | None = None,
) -> Accepted:
    """One transaction. `api_key` is the id of the one that the request came with.

    Raises InsufficientCredits, KeyReused, KeyBusy.
    """
    now = _whole_milliseconds(clock.machine())
    view = _answer(checked, now)
    body = msgspec.json.encode(view)
    try:
        rows = _rows(checked, view, now, api_key)
        row = await database.call(_ACCEPT, *_key(organization, key), body, *rows, traceparent)
    except asyncpg.PostgresError as error:
        if (refusal := _refusal(error)) is not None:
            raise refusal from error
        raise
    if row is None or row["outcome"] == 0:
        credits.MOVED.labels("hold").inc(PRICE)
        return Accepted(body, replayed=False)
    if row["outcome"] == 2:
        raise KeyReused
    return Accepted(row["replay"], replayed=True)


def _whole_milliseconds(moment: datetime) -> datetime:
    """What is kept is what is shown, so that a time which was shown is a bound that can be asked for."""
    return moment - timedelta(microseconds=moment.microsecond % 1000)


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
    if run_at > clock.product() + FURTHEST_RUN:
        raise errors.RequestInvalid(
            "run_at is too far ahead", fields=(FieldError("/run_at", f"is more than {FURTHEST_RUN.days} days away"),)
        )


def _answer(checked: Checked, now: datetime) -> GenerationView:
    request = checked.request
    later = request.run_at is not None and request.run_at > clock.product()
    return GenerationView(
        id=ids.new("gen"),
        status="scheduled" if later else "queued",
        engine=request.engine,
        template=checked.template,
        input=checked.input,
        output=msgspec.to_builtins(request.output),
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


def _key(organization: str, key: Key | None) -> tuple[object, ...]:
    return (organization, key.scope, key.key, key.fingerprint) if key else (organization, None, None, None)


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
        _json({"input": view.input, "output": view.output}),
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


def _refusal(error: asyncpg.PostgresError) -> DomainError | None:
    if error.sqlstate == "AT402":
        return InsufficientCredits()
    return KeyBusy(retry_after=1) if isinstance(error, asyncpg.LockNotAvailableError) else None

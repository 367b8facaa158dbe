"""Everything that became of one generation, from the request to the last delivery, put together from many tables."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from api.operator import trail_rows
from api.operator.trail_rows import OneRow
from domain.generations import views
from domain.generations.errors import GenerationNotFound
from domain.generations.views import AssetView, GenerationView
from runtime import ids
from runtime.database import SystemTransaction, row_dict
from runtime.telemetry import tracing
from storage.addresses import ObjectUrls


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """`ms` is `at` in milliseconds since the request was accepted; every other `…_ms` is a duration."""

    at: datetime
    ms: float


class Key(msgspec.Struct, frozen=True):
    id: str
    name: str
    prefix: str


class RequestStep(Step, frozen=True, kw_only=True):
    """`idempotency_key`: as the caller chose it, while the answer under it is kept."""

    api_key: Key | None
    idempotency_key: str | None
    price: int


class ChargeStep(Step, frozen=True, kw_only=True):
    """hold, settle or release, in credits."""

    id: str
    kind: str
    amount: int


class AssetStep(Step, frozen=True, kw_only=True):
    asset: AssetView
    reused: bool


class EventStep(Step, frozen=True, kw_only=True):
    """`relay_ms`: until the relay had written its tasks; null where nothing reacts to it."""

    id: str
    type: str
    subject: str
    data: dict[str, Any]
    state: Literal["pending", "expanded", "set_aside"]
    position: int | None
    relay_ms: float | None
    error: str | None


class TryStep(Step, frozen=True, kw_only=True):
    """A try that failed, or the death of the worker that was at it."""

    task: int
    kind: str
    reason: str
    owner: str | None


class TaskStep(Step, frozen=True, kw_only=True):
    """`at` is when the relay wrote it. Of its tries only the last one's times are known: `waited_ms` (from due to
    claimed) and `ran_ms`. `due_ms`, `started_ms` and `ended_ms` count from the acceptance, as `ms` does.
    """

    id: int
    event_id: str
    actor: str
    target: str
    subject: str
    queue: str
    state: str
    attempts: int
    deaths: int
    relay_ms: float
    run_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    waited_ms: float | None
    ran_ms: float | None
    due_ms: float
    started_ms: float | None
    ended_ms: float | None
    owner: str | None
    failures: list[TryStep]
    delivery_id: str | None


class AttemptStep(Step, frozen=True, kw_only=True):
    """`answer` is the beginning of what the receiver said."""

    id: str
    delivery_id: str
    host: str
    duration_ms: int
    status_code: int | None
    error: str | None
    answer: str


class DeliveryStep(Step, frozen=True, kw_only=True):
    """Of the endpoint's URL only the host is told: paths hold secrets."""

    id: str
    event_id: str
    event_type: str
    endpoint_id: str
    host: str
    disabled_reason: str | None
    status: str
    failure_code: str | None
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    attempts: list[AttemptStep]


class MailStep(Step, frozen=True, kw_only=True):
    """`recipient` is masked. `at` is when it was sent, or entered while it is not."""

    id: str
    event_id: str
    kind: str
    channel: str
    recipient: str
    status: str
    error: str | None


class Trail(msgspec.Struct, frozen=True, kw_only=True):
    """`complete` is false when there is more of something than is shown."""

    generation: GenerationView
    organization_id: str
    organization_name: str
    trace_id: str | None
    accepted_at: datetime
    total_ms: float | None
    request: RequestStep
    charges: list[ChargeStep]
    asset: AssetStep | None
    events: list[EventStep]
    tasks: list[TaskStep]
    deliveries: list[DeliveryStep]
    mails: list[MailStep]
    complete: bool


async def read(tx: SystemTransaction, generation_id: str, urls: ObjectUrls) -> Trail:
    """Raises GenerationNotFound."""
    row = await trail_rows.generation(tx, generation_id) if ids.is_id("gen", generation_id) else None
    if row is None:
        raise GenerationNotFound
    return await _Reading(tx, row, urls).trail()


class _Reading:
    """One generation while its trail is put together."""

    def __init__(self, tx: SystemTransaction, row: OneRow, urls: ObjectUrls) -> None:
        self._tx = tx
        self._row = row
        self._organization: str = row.organization_id
        self._view = views.of_row(row, urls)

    async def trail(self) -> Trail:
        tx, organization = self._tx, self._organization
        events = await trail_rows.events(tx, organization, [self._row.id])
        told = [event.id for event in events]
        deliveries = await trail_rows.deliveries(tx, organization, told)
        events = [*events, *await trail_rows.events(tx, organization, [row.id for row in deliveries])]
        tasks = await trail_rows.tasks(tx, [event.id for event in events])
        attempts = await trail_rows.attempts(tx, organization, [row.id for row in deliveries])
        mails = await trail_rows.mails(tx, organization, told)
        charges = await trail_rows.charges(tx, organization, self._row.id)
        traces = (tracing.parse(event.traceparent) for event in events)
        sent = [self._delivery(row, attempts) for row in deliveries]
        return Trail(
            generation=self._view,
            organization_id=organization,
            organization_name=self._row.organization_name,
            trace_id=next((tracing.trace_id(trace) for trace in traces if trace), None),
            accepted_at=self._row.created_at,
            total_ms=self._since(self._row.ended_at),
            request=await self._request(events),
            charges=[ChargeStep(**row_dict(row), ms=self._ms(row.at)) for row in charges],
            asset=self._asset(),
            events=[self._event(row, tasks) for row in events],
            tasks=_without_addresses([self._task(row, events, sent) for row in tasks], mails),
            deliveries=sent,
            mails=[self._mail(row) for row in mails],
            complete=all(len(rows) < trail_rows.MOST for rows in (events, tasks, attempts, charges, mails)),
        )

    async def _request(self, events: Sequence[OneRow]) -> RequestStep:
        at = self._row.created_at
        key_id = next((event.data["api_key"] for event in events if "api_key" in event.data), None)
        key = await trail_rows.api_key(self._tx, self._organization, key_id) if key_id else None
        return RequestStep(
            at=at,
            ms=0.0,
            api_key=Key(**row_dict(key)) if key else None,
            idempotency_key=await trail_rows.idempotency_key(self._tx, self._organization, self._row.id, at),
            price=self._row.price,
        )

    def _asset(self) -> AssetStep | None:
        if not self._view.assets:
            return None
        at = self._row.asset_at
        return AssetStep(at=at, ms=self._ms(at), asset=self._view.assets[0], reused=self._row.reused)

    def _event(self, row: OneRow, tasks: Iterable[OneRow]) -> EventStep:
        written = [task.at for task in tasks if task.event_id == row.id]
        return EventStep(
            at=row.at,
            ms=self._ms(row.at),
            id=row.id,
            type=row.type,
            subject=row.subject,
            data=row.data,
            state="set_aside" if row.error is not None else "pending" if row.pending else "expanded",
            position=row.position,
            relay_ms=_between(row.at, min(written)) if written else None,
            error=row.error,
        )

    def _task(self, row: OneRow, events: Iterable[OneRow], deliveries: Iterable[DeliveryStep]) -> TaskStep:
        told = next(event for event in events if event.id == row.event_id)
        over = row.ended_at or (None if row.state == "running" else _last(row.failures))
        values = row_dict(row) | {
            "relay_ms": _between(told.at, row.at),
            "waited_ms": _forward(max(row.run_at, row.at), row.started_at),
            "ran_ms": _forward(row.started_at, over),
            "due_ms": self._ms(max(row.run_at, row.at)),
            "started_ms": self._since(row.started_at),
            "ended_ms": self._since(row.ended_at),
            "failures": [self._try(row.id, failure) for failure in row.failures],
            "delivery_id": next((each.id for each in deliveries if _is_of(row, each)), None),
        }
        return TaskStep(**values, ms=self._ms(row.at))

    def _try(self, task: int, failure: dict[str, Any]) -> TryStep:
        at = datetime.fromisoformat(failure["at"])
        reason, owner = failure["reason"], failure.get("owner")
        return TryStep(at=at, ms=self._ms(at), task=task, kind=failure["kind"], reason=reason, owner=owner)

    def _delivery(self, row: OneRow, attempts: Iterable[OneRow]) -> DeliveryStep:
        values = row_dict(row)
        host = urlsplit(values.pop("url")).netloc.rpartition("@")[2]
        made = [
            AttemptStep(**row_dict(each), ms=self._ms(each.at), host=host)
            for each in attempts
            if each.delivery_id == row.id
        ]
        return DeliveryStep(**values, ms=self._ms(row.at), host=host, attempts=made)

    def _mail(self, row: OneRow) -> MailStep:
        values = row_dict(row)
        at = values.pop("sent_at") or row.at
        hidden = {"recipient": mask(row.recipient), "error": row.error and _hidden(row.error, [row.recipient])}
        return MailStep(**values | hidden | {"at": at}, ms=self._ms(at))

    def _ms(self, moment: datetime) -> float:
        return _between(self._row.created_at, moment)

    def _since(self, moment: datetime | None) -> float | None:
        return None if moment is None else self._ms(moment)


def mask(address: str) -> str:
    """`a•••@example.com`: enough to know it again."""
    local, at, host = address.rpartition("@")
    return f"{local[:1]}•••{at}{host}" if at else "•••"


def _between(start: datetime, end: datetime) -> float:
    return round((end - start).total_seconds() * 1000, 2)


def _forward(start: datetime | None, end: datetime | None) -> float | None:
    """None when the two belong to different tries: the later one has not begun or ended yet."""
    return _between(start, end) if start and end and end >= start else None


def _last(failures: list[dict[str, Any]]) -> datetime | None:
    return datetime.fromisoformat(failures[-1]["at"]) if failures else None


def _is_of(task: OneRow, delivery: DeliveryStep) -> bool:
    """A replay's task has the delivery itself as its subject."""
    named = (task.event_id, task.target) == (delivery.event_id, delivery.endpoint_id)
    return named or task.subject == delivery.id


def _hidden(text: str, addresses: Iterable[str]) -> str:
    for address in addresses:
        text = text.replace(address, mask(address))
    return text


def _without_addresses(tasks: list[TaskStep], mails: Iterable[OneRow]) -> list[TaskStep]:
    """Mail servers say in their refusals whom they refused."""
    addresses: defaultdict[str, list[str]] = defaultdict(list)
    for mail in mails:
        addresses[mail.event_id].append(mail.recipient)
    replace = msgspec.structs.replace
    return [
        replace(task, failures=[replace(each, reason=_hidden(each.reason, found)) for each in task.failures])
        if (found := addresses.get(task.event_id))
        else task
        for task in tasks
    ]

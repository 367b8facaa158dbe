"""Where a customer wants to hear of events: made, changed, tested and removed by the customer."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Row, func, insert, select, update

from domain import pages
from domain.accounts.models import OrganizationRow
from domain.errors import FieldError, PreconditionFailed
from domain.events import feed, log
from domain.webhooks import events, signing
from domain.webhooks.errors import (
    EndpointDisabled,
    EndpointNotFound,
    EndpointUrlRefused,
    EventTypeUnknown,
    SecretMalformed,
    TooManyEndpoints,
)
from domain.webhooks.models import WebhookEndpoint
from runtime import clock, ids, outbound
from runtime.database import Reader, Transaction
from runtime.encryption import Keyring
from runtime.settings import Settings

MOST_ENDPOINTS: Final = 20
"""Of one organization."""
GRACE: Final = timedelta(hours=24)
"""How long a rotated secret goes on signing beside the new one, unless the customer says otherwise."""

DELETED: Final = "deleted"
"""The status of a row that waits to be taken away (`removal`). No caller sees it any more."""

Status = Literal["enabled", "disabled"]
Url = Annotated[
    str,
    Meta(max_length=2048, description="Where events are posted to.", examples=["https://example.com/hooks/atelier"]),
]
Description = Annotated[str, Meta(max_length=500)]
EventTypes = Annotated[list[str], Meta(max_length=50, description="Types to be told of. Empty: all, future ones too.")]
SecretText = Annotated[str, Meta(max_length=128, description="`whsec_` and the base64 of 24 to 64 bytes.")]


class Draft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint to be made. Without `secret` one is drawn."""

    url: Url
    description: Description = ""
    event_types: EventTypes = []
    secret: SecretText | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is not given stays as it is."""

    url: Url | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    event_types: EventTypes | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of an endpoint. `disabled_reason`: caller, gone (it answered 410) or failing (for days)."""

    id: str
    url: str
    description: str
    event_types: list[str]
    status: Status
    disabled_reason: str | None
    previous_secret_until: datetime | None
    revision: int
    created_at: datetime
    updated_at: datetime


class Unveiled(msgspec.Struct, frozen=True):
    """`secret` is to be shown this once."""

    endpoint: Endpoint
    secret: str


def context(organization: str, endpoint_id: str) -> bytes:
    """What an endpoint's secrets are encrypted for: in another row they can't be read."""
    return f"webhook_endpoints/{organization}/{endpoint_id}".encode()


async def create(tx: Transaction, organization: str, draft: Draft, *, keyring: Keyring, settings: Settings) -> Unveiled:
    """Raises EndpointUrlRefused, EventTypeUnknown, SecretMalformed, TooManyEndpoints."""
    _check_url(draft.url, settings)
    _check_event_types(draft.event_types)
    secret = _secret(draft.secret)
    await _check_room(tx, organization)
    endpoint_id = ids.new("whe")
    values = {
        "url": draft.url,
        "description": draft.description,
        "event_types": sorted(set(draft.event_types)),
        "secret": keyring.encrypt(secret.encode(), context=context(organization, endpoint_id)),
    }
    statement = insert(WebhookEndpoint).values(organization_id=organization, id=endpoint_id, **values)
    row = (await tx.execute(statement.returning(*_SHOWN))).one()
    await log.append(tx, organization, events.EndpointCreated(subject=endpoint_id))
    return Unveiled(_of_row(row), secret)


async def page(tx: Reader, organization: str, wanted: pages.PageRequest) -> pages.Page[Endpoint]:
    """Newest first."""
    query = select(*_SHOWN).where(WebhookEndpoint.organization_id == organization, _KEPT)
    found = await pages.rows(tx, query, WebhookEndpoint.id, wanted)  # type: ignore[arg-type]
    return pages.Page([_of_row(row) for row in found.items], found.last)


async def get(tx: Reader, organization: str, endpoint_id: str) -> Endpoint:
    """Raises EndpointNotFound."""
    row = (await tx.execute(select(*_SHOWN).where(*_named(organization, endpoint_id)))).one_or_none()
    if row is None:
        raise EndpointNotFound
    return _of_row(row)


async def change(
    tx: Transaction,
    organization: str,
    endpoint_id: str,
    wanted: Change,
    *,
    revisions: Collection[int] | None,
    settings: Settings,
) -> Endpoint:
    """`revisions`: those that the caller takes to be the present one; None when he does not care. A change that
    changes nothing raises no revision.

    Raises EndpointNotFound, PreconditionFailed, EndpointUrlRefused, EventTypeUnknown.
    """
    before = await _lock(tx, organization, endpoint_id)
    if revisions is not None and before.revision not in revisions:
        raise PreconditionFailed
    if wanted.url is not UNSET:
        _check_url(wanted.url, settings)
    if wanted.event_types is not UNSET:
        _check_event_types(wanted.event_types)
        wanted = msgspec.structs.replace(wanted, event_types=sorted(set(wanted.event_types)))
    given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not UNSET}
    changed = {name: value for name, value in given.items() if value != getattr(before, name)}
    if not changed:
        return _of_row(before)
    fields = sorted(changed)
    if "status" in changed:
        reason = "caller" if wanted.status == "disabled" else None
        changed |= {"disabled_reason": reason, "failing_since": None, "slow_since": None}
    return await _change(tx, organization, endpoint_id, changed, fields=fields)


async def rotate(
    tx: Transaction,
    organization: str,
    endpoint_id: str,
    *,
    keyring: Keyring,
    secret: str | None = None,
    grace: timedelta = GRACE,
) -> Unveiled:
    """Both secrets sign until the grace is over; one that was rotated away before is dropped now.

    Raises EndpointNotFound, SecretMalformed.
    """
    chosen = _secret(secret)
    before = await _lock(tx, organization, endpoint_id)
    values = {
        "secret": keyring.encrypt(chosen.encode(), context=context(organization, endpoint_id)),
        "previous_secret": before.secret if grace else None,
        "previous_secret_until": clock.machine() + grace if grace else None,
    }
    return Unveiled(await _change(tx, organization, endpoint_id, values, fields=["secret"]), chosen)


async def remove(tx: Transaction, organization: str, endpoint_id: str) -> None:
    """Nothing is sent to it any more, and where it led and its secrets are forgotten. Its deliveries go later: taken
    away here, they would keep the row locked that the relay needs.

    Raises EndpointNotFound.
    """
    forgotten = {"url": "", "description": "", "secret": b"", "previous_secret": None, "previous_secret_until": None}
    statement = update(WebhookEndpoint).where(*_named(organization, endpoint_id))
    gone = await tx.execute(statement.values(status=DELETED, **forgotten, **_touched()))
    if gone.rowcount == 0:
        raise EndpointNotFound
    await log.append(tx, organization, events.EndpointDeleted(subject=endpoint_id))


async def send_test(tx: Transaction, organization: str, endpoint_id: str, *, traceparent: str | None = None) -> str:
    """Id of the event that is now on its way to this endpoint alone. Raises EndpointNotFound, EndpointDisabled."""
    if (await get(tx, organization, endpoint_id)).status == "disabled":
        raise EndpointDisabled
    cause = log.Cause(endpoint_id, traceparent=traceparent)
    [event_id] = await log.append(tx, organization, events.EndpointTested(subject=endpoint_id), cause=cause)
    return event_id


async def disable(tx: Transaction, organization: str, endpoint_id: str, *, reason: str, cause: log.Cause) -> None:
    """By this program; doing it twice is fine."""
    done = await tx.execute(
        update(WebhookEndpoint)
        .where(*_named(organization, endpoint_id), WebhookEndpoint.status == "enabled")
        .values(status="disabled", disabled_reason=reason, **_touched())
    )
    if done.rowcount == 1:
        await log.append(tx, organization, events.EndpointDisabled(subject=endpoint_id, reason=reason), cause=cause)


async def mark_failing(tx: Transaction, organization: str, endpoint_id: str, since: datetime | None) -> None:
    """None: it works again. Of several failures at once the first counts. No change of the customer's, so no new
    revision.
    """
    known = WebhookEndpoint.failing_since
    changes = known.is_not(None) if since is None else known.is_(None)
    statement = update(WebhookEndpoint).where(*_named(organization, endpoint_id), changes)
    await tx.execute(statement.values(failing_since=since))


async def mark_slow(tx: Transaction, organization: str, endpoint_id: str, since: datetime | None) -> None:
    """None: its last attempt was quick. No change of the customer's either."""
    await tx.execute(update(WebhookEndpoint).where(*_named(organization, endpoint_id)).values(slow_since=since))


async def _lock(tx: Transaction, organization: str, endpoint_id: str) -> Row[*tuple[Any, ...]]:
    query = select(*_SHOWN, WebhookEndpoint.secret).where(*_named(organization, endpoint_id))
    row = (await tx.execute(query.with_for_update(key_share=True))).one_or_none()
    if row is None:
        raise EndpointNotFound
    return row


async def _change(
    tx: Transaction, organization: str, endpoint_id: str, values: dict[str, Any], *, fields: list[str]
) -> Endpoint:
    statement = update(WebhookEndpoint).where(*_named(organization, endpoint_id)).values(**values, **_touched())
    after = _of_row((await tx.execute(statement.returning(*_SHOWN))).one())
    fact = events.EndpointChanged(subject=endpoint_id, fields=fields, status=after.status)
    await log.append(tx, organization, fact)
    return after


async def _check_room(tx: Transaction, organization: str) -> None:
    """The organization's row is locked against another endpoint being made meanwhile, and against nothing else."""
    itself = select(OrganizationRow.organization_id).where(OrganizationRow.organization_id == organization)
    await tx.execute(itself.with_for_update(key_share=True))
    count = select(func.count()).where(WebhookEndpoint.organization_id == organization, _KEPT)
    if (await tx.scalar(count) or 0) >= MOST_ENDPOINTS:
        raise TooManyEndpoints(f"an organization has at most {MOST_ENDPOINTS} webhook endpoints")


def _check_url(url: str, settings: Settings) -> None:
    """Asks no name server: what a name leads to is checked at every attempt, as it is dialled."""
    try:
        outbound.policy(settings).check_url(url, https_only=not settings.webhook_insecure_http)
    except outbound.OutboundError as error:
        raise EndpointUrlRefused(str(error), fields=(FieldError("/url", str(error)),)) from None


def _check_event_types(wanted: Sequence[str]) -> None:
    known = feed.public_types()
    unknown = [FieldError(f"/event_types/{i}", "is no type of event") for i, it in enumerate(wanted) if it not in known]
    if unknown:
        raise EventTypeUnknown(f"the types are {', '.join(known)}", fields=tuple(unknown))


def _secret(given: str | None) -> str:
    if given is not None and not signing.is_secret(given):
        raise SecretMalformed(fields=(FieldError("/secret", "must be `whsec_` and the base64 of 24 to 64 bytes"),))
    return given or signing.new_secret()


def _named(organization: str, endpoint_id: str) -> tuple[Any, ...]:
    return WebhookEndpoint.organization_id == organization, WebhookEndpoint.id == endpoint_id, _KEPT


def _touched() -> dict[str, Any]:
    return {"revision": WebhookEndpoint.revision + 1, "updated_at": func.now()}


_KEPT = WebhookEndpoint.status != DELETED
_SHOWN = tuple(getattr(WebhookEndpoint, field) for field in Endpoint.__struct_fields__)


def _of_row(row: Any) -> Endpoint:
    """The old secret's last hour is of interest only while it signs."""
    endpoint = msgspec.convert(row, Endpoint, from_attributes=True)
    if endpoint.previous_secret_until and endpoint.previous_secret_until <= clock.machine():
        return msgspec.structs.replace(endpoint, previous_secret_until=None)
    return endpoint

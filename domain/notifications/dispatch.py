"""Telling an organization by mail what became of its image."""

from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import Any, Final

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from domain.accounts.models import OrganizationRow
from domain.notifications import rendering
from domain.notifications.channels.base import Channel, Mail
from domain.notifications.errors import ChannelUnavailableError, MessageRefusedError
from domain.notifications.models import Notification
from domain.notifications.rendering import Kind
from domain.tasks.outcomes import Describe, Done, Fail, Outcome, Retry, Snooze, Task
from runtime import clock, failpoints, ids
from runtime.database import Transaction
from runtime.settings import Settings

KINDS: Final[dict[str, Kind]] = {"generation.succeeded": "image_ready", "generation.failed": "image_failed"}
EMAIL: Final = "email"

SHORTEST_PAUSE: Final = timedelta(seconds=5)
LONGEST_PAUSE: Final = timedelta(minutes=5)
GIVEN_UP_AFTER: Final = timedelta(days=3)
"""Of a mail server that is away: each pause is a quarter of the mail's age, within these bounds, and counts as nothing.
A mail that is older is buried by its next failure, and waits for a person.
"""

# Where the words of a request are, in the order of how well they name it.
_WORDS: Final = ("prompt", "headline", "title", "quote", "name", "text")


class Plan(msgspec.Struct, frozen=True):
    notification_id: str
    mail: Mail
    waiting_since: datetime


async def prepare(tx: Transaction, task: Task, *, describe: Describe, settings: Settings) -> Plan | None:
    """None when nobody is to be told, or was told by an earlier try."""
    organization = (await tx.execute(select(OrganizationRow.name, OrganizationRow.notify_email))).one()
    if not organization.notify_email:
        return None
    kind = KINDS[task.event_type]
    notification_id = await _enter(tx, task, kind, organization.notify_email)
    if notification_id is None:
        return None
    generation = await describe(tx, task.event)
    context = _context(organization.name, generation, settings)
    said = rendering.render(kind, context)
    host = parseaddr(settings.mail_from)[1].rpartition("@")[2]
    mail = Mail(
        message_id=f"{notification_id}@{host}",
        sender=settings.mail_from,
        recipient=organization.notify_email,
        subject=said.subject,
        text=said.text,
        html=said.html,
    )
    return Plan(notification_id, mail, task.occurred_at)


async def send(plan: Plan, *, mail: Channel) -> Outcome:
    failpoints.hit("mail.before_send")
    try:
        await mail.send(plan.mail)
    except ChannelUnavailableError as error:
        return _again(plan, f"the mail server: {error}")
    except MessageRefusedError as error:
        return Fail("mail_refused", str(error))
    failpoints.hit("mail.after_send")
    return Done()


async def record(tx: Transaction, _task: Task, plan: Plan, outcome: Outcome) -> None:
    match outcome:
        case Done():
            values: dict[str, Any] = {"status": "sent", "sent_at": func.now(), "error": None}
        case Fail(detail=detail):
            values = {"status": "refused", "error": detail}
        case Snooze(reason=reason) | Retry(reason=reason):
            values = {"error": reason}
    await tx.execute(update(Notification).where(Notification.id == plan.notification_id).values(**values))


def _again(plan: Plan, reason: str) -> Outcome:
    now = clock.machine()
    age = now - plan.waiting_since
    if age > GIVEN_UP_AFTER:
        return Retry(reason, final=True)
    return Snooze(now + min(max(age / 4, SHORTEST_PAUSE), LONGEST_PAUSE), reason)


async def _enter(tx: Transaction, task: Task, kind: Kind, recipient: str) -> str | None:
    """The notification's id, of this try or of the first; None when it was sent or refused already."""
    entry = insert(Notification).values(
        organization_id=task.organization_id,
        id=ids.new("ntf"),
        event_id=task.event_id,
        kind=kind,
        channel=EMAIL,
        recipient=recipient,
        subject=task.subject,
    )
    await tx.execute(entry.on_conflict_do_nothing())
    return await tx.scalar(
        select(Notification.id).where(
            Notification.event_id == task.event_id,
            Notification.channel == EMAIL,
            Notification.recipient == recipient,
            Notification.status == "pending",
        )
    )


def _context(organization: str, generation: dict[str, Any], settings: Settings) -> dict[str, object]:
    given = generation["input"]
    context: dict[str, object] = {
        "organization": organization,
        "generation_id": generation["id"],
        "words": next((given[name] for name in _WORDS if isinstance(given.get(name), str)), ""),
        "credits": generation["credits"] or 0,
        "reason": generation["error"]["detail"] if generation["error"] else "",
    }
    for asset in generation["assets"]:
        context |= {
            "image_url": asset["url"],
            "preview_url": "" if asset["format"] == "pdf" else asset["url"],
            "width": asset["width"],
            "height": asset["height"],
            "format": asset["format"],
            "bytes": asset["bytes"],
            "link_expires_at": clock.machine() + timedelta(seconds=settings.sent_url_ttl),
        }
    return context

"""What an operator looks at first: the queues, what is stuck, what came last. No backlog is ever read whole."""

from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import CTE, Select, func, select, text, union_all

from domain.accounts.models import OrganizationRow
from domain.dead_letters import letters
from domain.dead_letters.letters import Filter, Letter
from domain.events import feed
from domain.events.models import EventRow, FeedEntry, PendingEvent
from domain.generations.events import GenerationAccepted
from domain.generations.models import GenerationRow
from domain.pages import PageRequest
from domain.tasks import dead_letters
from domain.tasks.dead_letters import SetAside
from domain.tasks.models import TaskRow
from domain.upkeep import ticks
from domain.upkeep.ticks import Latest
from runtime import clock
from runtime.database import SystemTransaction, row_dict

COUNT_CAP: Final = 10_000
"""Counts stop here."""
LATEST: Final = 50
STUCK: Final = 20
_FED_LATELY: Final = 1_000
_WRITTEN_LATELY: Final = 1_000

_LEDGER = text("""
    select queue, ready, scheduled as waiting, dispatched, running, oldest_seconds
    from sample_tasks(cast(:queues as text[]), :cap)
""")
_EVENTS = text("select pending, set_aside, dead, oldest_seconds from sample_events(:cap)")


class Queue(msgspec.Struct, frozen=True):
    """Tasks by state. One in back-off, or of a scheduled generation, is ready in the ledger, and here `waiting` until
    its time comes. `oldest_seconds` is the age of the oldest one that could be claimed.
    """

    queue: str
    ready: int
    waiting: int
    dispatched: int
    running: int
    oldest_seconds: float


class Events(msgspec.Struct, frozen=True):
    """`oldest_seconds`: how long the oldest pending event has waited for a relay."""

    pending: int
    set_aside: int
    dead: int
    oldest_seconds: float


class Recent(msgspec.Struct, frozen=True):
    id: str
    status: str
    template: str
    organization_name: str
    created_at: datetime
    ended_at: datetime | None
    failure_code: str | None

    @property
    def total_ms(self) -> float | None:
        return (self.ended_at - self.created_at).total_seconds() * 1000 if self.ended_at else None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """`queues`: those that have open tasks, or had any lately."""

    at: datetime
    queues: list[Queue]
    events: Events
    dead: list[Letter]
    set_aside: list[SetAside]
    schedules: list[Latest]
    generations: list[Recent]


async def read(tx: SystemTransaction) -> Overview:
    names = sorted({name for name in await tx.scalars(_queue_names()) if name})
    ledger = await tx.execute(_LEDGER, {"queues": names, "cap": COUNT_CAP})
    return Overview(
        at=clock.machine(),
        queues=[Queue(**row_dict(row)) for row in ledger],
        events=Events(**row_dict((await tx.execute(_EVENTS, {"cap": COUNT_CAP})).one())),
        dead=(await letters.page(tx, Filter(), PageRequest(STUCK))).items,
        set_aside=await dead_letters.set_aside(tx, limit=STUCK),
        schedules=await ticks.latest(tx),
        generations=[Recent(*row) for row in await tx.execute(_recent())],
    )


def _queue_names() -> Select[*tuple[Any, ...]]:
    """The API does not know what queues there are: the ledger says."""
    lately = select(TaskRow.queue).order_by(TaskRow.id.desc()).limit(_WRITTEN_LATELY).subquery()
    states = ("ready", "dispatched", "running")
    found = union_all(*(select(_queues_with(state).c.queue) for state in states), select(lately.c.queue).distinct())
    return select(found.subquery().c.queue)


def _queues_with(state: str) -> CTE:
    """One look into the index for each queue, and none for its tasks."""
    first = select(func.min(TaskRow.queue).label("queue")).where(TaskRow.state == state)
    queues = first.cte(f"queues_{state}", recursive=True)
    following = select(func.min(TaskRow.queue)).where(TaskRow.state == state, TaskRow.queue > queues.c.queue)
    return queues.union_all(select(following.scalar_subquery()).where(queues.c.queue.is_not(None)))


def _recent() -> Select[*tuple[Any, ...]]:
    """Generations have no order in common: the end of the feed has, and what no relay has put there yet."""
    accepted = GenerationAccepted.type
    fed = select(FeedEntry).order_by(feed.OVERALL.desc()).limit(_FED_LATELY).subquery()
    pending = (
        select(PendingEvent.organization_id, EventRow.subject)
        .join(
            EventRow,
            (EventRow.organization_id == PendingEvent.organization_id) & (EventRow.id == PendingEvent.event_id),
        )
        .where(PendingEvent.type == accepted)
        .order_by(PendingEvent.event_id.desc())
        .limit(LATEST)
    )
    known = select(fed.c.organization_id, fed.c.subject).where(fed.c.type == accepted)
    newest = union_all(known, pending).subquery()
    this = (GenerationRow.organization_id == newest.c.organization_id) & (GenerationRow.id == newest.c.subject)
    return (
        select(
            GenerationRow.id, GenerationRow.status, GenerationRow.template, OrganizationRow.name,
            GenerationRow.created_at, GenerationRow.ended_at, GenerationRow.failure_code,
        )
        .join(newest, this)
        .join(OrganizationRow, OrganizationRow.organization_id == GenerationRow.organization_id)
        .order_by(GenerationRow.id.desc())
        .limit(LATEST)
    )  # fmt: skip

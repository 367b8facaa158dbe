"""What happened, in the order of the feed."""

from typing import Annotated, Final

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Stream

from api import answers, guards, streams, waiting
from api.dependencies import Resources
from api.parameters import LastEventId
from domain.api_keys.keys import Caller
from domain.events.errors import PositionExpired
from domain.events.feed import FedEvent

USUAL: Final = 100
MOST: Final = 1000
LAST: Final = 2**63 - 1
"""Positions are PostgreSQL's bigints."""

After = Annotated[int | None, QueryParameter(ge=0, le=LAST, description="Only what came after this position.")]
Types = Annotated[
    str | None, QueryParameter(description="Only these types, separated by commas: `generation.succeeded`.")
]


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first. `position` is what to ask with next (`after`), also when nothing has come."""

    data: list[FedEvent]
    position: int
    has_more: bool


@get(
    "/",
    guards=[guards.requires("events:read")],
    summary="Read events",
    description="Events by position. Nothing is missed: a position is given when an event can be seen, so none appears "
    "before one that was read. With `wait`, the answer comes with the next event, or empty when the time is over. "
    "A page of rare `types` may be empty while `has_more` is true.",
    responses=answers.reading(PositionExpired),
)
async def index(
    *,
    resources: NamedDependency[Resources],
    caller: NamedDependency[Caller],
    after: After = None,
    types: Types = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST)] = USUAL,
    wait: Annotated[int, QueryParameter(ge=0, le=waiting.LONGEST, description="Seconds to wait for an event.")] = 0,
) -> EventPage:
    found = await waiting.for_events(
        resources, caller.organization_id, after or 0, limit=limit, types=_types(types), seconds=wait
    )
    return EventPage(data=found.events, position=found.position, has_more=found.more)


@get(
    "/stream",
    guards=[guards.requires("events:read")],
    media_type="text/event-stream",
    summary="Follow events",
    description="Server-sent events: everything that happens from now on, or after `Last-Event-ID` or `after`.",
    responses=answers.reading(PositionExpired),
)
async def stream(
    resources: NamedDependency[Resources],
    caller: NamedDependency[Caller],
    after: After = None,
    types: Types = None,
    last_event_id: LastEventId = None,
) -> Stream:
    seen = streams.position_of(last_event_id)
    position = after if seen is None else seen
    await streams.check_kept(resources, caller.organization_id, position)
    return streams.respond(streams.of_organization(resources, caller.organization_id, position, _types(types)))


def _types(text: str | None) -> frozenset[str]:
    return frozenset(filter(None, (name.strip() for name in (text or "").split(","))))


router = Router("/v1/events", route_handlers=[index, stream], tags=["Events"])

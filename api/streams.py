"""Server-sent events (HTML standard, 9.2): what happens, as it happens, in the order of the feed.

A stream holds no connection to the database while it waits. Its ids are positions of the feed, so a client that comes
back with `Last-Event-ID` misses nothing.
"""

from collections.abc import AsyncGenerator
from typing import Final

import msgspec
from litestar.response import Stream

from api.dependencies import Resources
from api.errors import ParameterInvalid
from domain.events import feed
from domain.events.feed import FedEvent
from domain.generations import reading
from domain.generations.events import GenerationCancelled, GenerationFailed, GenerationSucceeded
from domain.generations.models import OPEN
from domain.generations.views import GenerationView

HEARTBEAT: Final = b": heartbeat\n\n"
BATCH: Final = 100
ENDS: Final = frozenset({GenerationSucceeded.type, GenerationFailed.type, GenerationCancelled.type})
HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


class GenerationNews(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a generation, and how it is now."""

    event: FedEvent
    generation: GenerationView


def respond(events: AsyncGenerator[bytes, None]) -> Stream:
    return Stream(events, media_type="text/event-stream", headers=HEADERS)


def position_of(last_event_id: str | None) -> int | None:
    """Raises ParameterInvalid for what no stream of ours has sent."""
    if not last_event_id:
        return None
    if not last_event_id.isascii() or not last_event_id.isdecimal() or len(last_event_id) > 18:
        raise ParameterInvalid("Last-Event-ID is not one of this stream")
    return int(last_event_id)


async def check_kept(resources: Resources, organization: str, position: int | None) -> None:
    """Raises PositionExpired when a client that comes back to a position cannot be told all that it missed."""
    if position is not None:
        async with resources.database.read_only(organization) as tx:
            await feed.check_kept(tx, position)


async def is_over(resources: Resources, organization: str, generation_id: str, position: int | None) -> bool:
    """Whether a client that comes back to a position has seen the end already. Raises GenerationNotFound, and
    PositionExpired when it cannot be told the end any more.
    """
    async with resources.database.read_only(organization) as tx:
        view = await reading.one(tx, generation_id, resources.urls)
        if position is None or view.status in OPEN:
            return False
        ends = await feed.after(tx, 0, limit=BATCH, subject=generation_id, types=ENDS)
        if not ends:
            await feed.check_kept(tx, position)
    return bool(ends) and ends[-1].position <= position


async def of_generation(
    resources: Resources, organization: str, generation_id: str, position: int | None
) -> AsyncGenerator[bytes, None]:
    """A snapshot first, unless the client comes back to a position; then each event until the generation has ended."""
    hub = resources.hub
    with hub.listen(organization, generation_id) as waiter:
        if position is None:
            async with resources.database.read_only(organization) as tx:
                position = await feed.head(tx)
                view = await reading.one(tx, generation_id, resources.urls)
            yield _message("snapshot", position, view)
            if view.status not in OPEN:
                return
        while not hub.closing:
            async with resources.database.read_only(organization) as tx:
                news = await feed.after(tx, position, limit=BATCH, subject=generation_id)
                view = await reading.one(tx, generation_id, resources.urls)
            for event in news:
                position = event.position
                yield _message(event.type, position, GenerationNews(event=event, generation=view))
                if event.type in ENDS and view.status not in OPEN:
                    return
            if not news and not await waiter.moved(resources.heartbeat):
                yield HEARTBEAT


async def of_organization(
    resources: Resources, organization: str, position: int | None, types: frozenset[str]
) -> AsyncGenerator[bytes, None]:
    """Every event after a position, or from now on; without an end."""
    hub = resources.hub
    with hub.listen(organization) as waiter:
        while not hub.closing:
            async with resources.database.read_only(organization) as tx:
                if position is None:
                    position = await feed.head(tx)
                news = await feed.stretch(tx, position, limit=BATCH, types=types)
            for event in news.events:
                yield _message(event.type, event.position, event)
            position = news.position
            if not news.events and not news.more and not await waiter.moved(resources.heartbeat):
                yield HEARTBEAT


def _message(name: str, position: int, data: object) -> bytes:
    """JSON has no line breaks of its own, so the data is one line."""
    return b"event: %s\nid: %d\ndata: %s\n\n" % (name.encode(), position, msgspec.json.encode(data))

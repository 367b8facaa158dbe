"""`Prefer: wait=n` (RFC 7240): the work is accepted first, then the answer waits a little for its end."""

import re
import time
from typing import Final

from api.dependencies import Resources
from domain.events import feed
from domain.events.feed import Stretch
from domain.generations import reading
from domain.generations.models import OPEN
from domain.generations.views import GenerationView

LONGEST: Final = 60
"""Seconds."""

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?=$|[,;\s])", re.IGNORECASE)


def preferred(prefer: str | None) -> int:
    """Seconds to wait for, 0 for none. A preference that is not understood is ignored, as the RFC asks."""
    found = _WAIT.search(prefer) if prefer else None
    return min(int(found[1]), LONGEST) if found else 0


async def until_ended(resources: Resources, organization: str, generation_id: str, seconds: float) -> GenerationView:
    """The generation at its end, or as it is when the time is over. Holds no connection while it waits."""
    deadline = time.monotonic() + seconds
    with resources.hub.listen(organization, generation_id) as waiter:
        while True:
            async with resources.database.read_only(organization) as tx:
                view = await reading.one(tx, generation_id, resources.urls)
            left = deadline - time.monotonic()
            if view.status not in OPEN or left <= 0 or resources.hub.closing:
                return view
            await waiter.moved(left)


async def for_events(
    resources: Resources, organization: str, position: int, *, limit: int, types: frozenset[str], seconds: float
) -> Stretch:
    """The events after a position; waits for the first one for so long at most. Raises PositionExpired."""
    deadline = time.monotonic() + seconds
    asked = position
    with resources.hub.listen(organization) as waiter:
        while True:
            async with resources.database.read_only(organization) as tx:
                found = await feed.stretch(tx, position, limit=limit, types=types)
                await feed.check_kept(tx, asked)
            left = deadline - time.monotonic()
            if found.events or left <= 0 or resources.hub.closing:
                return found
            position = found.position
            if not found.more:
                await waiter.moved(left)

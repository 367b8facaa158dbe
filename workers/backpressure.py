"""How far behind the making of images is, as a whole and for single organizations: published each second, so that the
API can ask for patience instead of promising what cannot be kept.
"""

import time
from datetime import datetime
from typing import Final, NamedTuple

import asyncpg

from domain.tasks import backlogs
from domain.tasks.backlogs import Waiting
from queue_config import queues
from runtime.ids import SYSTEM_ORGANIZATION
from runtime.settings import Settings
from runtime.telemetry import metrics

LOOK_SECONDS: Final = 1.0

LONGEST_WAIT = metrics.gauge(
    "atelier_longest_wait_seconds", "How long an organization has waited for a worker to take up its next image."
)
BACKLOGGED = metrics.gauge("atelier_backlogged_organizations", "Organizations that get 429 for new images.")


class Turn(NamedTuple):
    """The first task of an organization, and since when that has been its first (monotonic seconds)."""

    head: datetime
    since: float


class Backpressure:
    """An organization is behind by the age of its oldest task: that is its own doing as soon as it asks for more than
    its share. The installation is behind by the time since an organization's oldest task changed, that is since a
    worker took one up: under fair choice that stays short however long single backlogs are, unless workers are away
    or far too few for so many organizations.
    """

    def __init__(self, settings: Settings) -> None:
        self._bound = settings.backlog_seconds
        self._organization_bound = settings.organization_backlog_seconds
        self._turns: dict[str, Turn] | None = None
        self._published: dict[str, float] = {}

    async def look(self, connection: asyncpg.Connection) -> None:
        waiting = await backlogs.sample(connection, queues.IMAGES.name)
        longest = self._longest_wait(waiting, time.monotonic())
        behind = {each.organization_id: each.age for each in waiting if self._is_behind(each)}
        LONGEST_WAIT.set(longest)
        BACKLOGGED.set(len(behind))
        if self._bound and longest > self._bound:
            behind[SYSTEM_ORGANIZATION] = longest
        if behind or self._published:
            await backlogs.publish(connection, behind)
        self._published = behind

    def _is_behind(self, each: Waiting) -> bool:
        return each.too_deep or bool(self._organization_bound and each.age > self._organization_bound)

    def _longest_wait(self, waiting: list[Waiting], now: float) -> float:
        self._turns = {each.organization_id: self._turn(each, now) for each in waiting}
        return max((now - self._turns[each.organization_id].since for each in waiting if not each.capped), default=0)

    def _turn(self, each: Waiting, now: float) -> Turn:
        """Of backlogs that were there before this relay led nothing is known."""
        if self._turns is None:
            return Turn(each.head, now)
        before = self._turns.get(each.organization_id)
        if before is None:
            return Turn(each.head, now - each.age)
        return before if before.head == each.head else Turn(each.head, now)

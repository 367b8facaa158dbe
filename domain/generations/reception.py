"""Where the requests of one API process come in. While one of an organization's is on its way to the database, its
next ones wait, and then go together: one flush and one lock of its balance for all of them. A request that comes alone
goes at once, alone.
"""

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import asyncpg

from domain.generations import acceptance
from domain.generations.acceptance import Accepted, Checked, Draft
from domain.generations.backpressure import Backpressure
from domain.idempotency.keys import Key
from domain.tasks.outcomes import CarryOn
from runtime import failpoints
from runtime.batching import Batcher
from runtime.database import Database
from runtime.lately import Lately
from runtime.telemetry import metrics

LARGEST: Final = 64
QUIET: Final = 0.05
"""Seconds without a request, after which the next one may go straight to a worker. Where requests come faster they go
over the relay, many in one step: each by itself they would keep the next accepts waiting.
"""
LATELY: Final = 1.0
"""Seconds for which who has asked is none that asks seldom, and may go ahead however many others ask."""
APART: Final = 0.02
"""Seconds between two of those. Where all begin to ask at once they are many, and none of them is beside a busy one."""
REFUSED_REST: Final = 0.25
"""Seconds for which an organization that has work waiting, or as much as its plan gives, is left to the relay."""
_ACCEPTS = metrics.counter("atelier_accepts_total", "Accepted generations, by how they reached the database.", ["how"])
ALONE, TOGETHER = _ACCEPTS.labels("alone"), _ACCEPTS.labels("together")


class Reception:
    """Lives on the event loop of the API. With `carry_on`, a request that comes where nobody waits has its task at
    once, and goes straight to a worker; else the relay sends it there.
    """

    def __init__(self, database: Database, backpressure: Backpressure, carry_on: CarryOn | None = None) -> None:
        self._database = database
        self._backpressure = backpressure
        self._carry_on = carry_on
        self._lately = Lately(LATELY)
        self._refused = Lately(REFUSED_REST)
        self._last = self._last_seldom = -math.inf
        self._batchers: dict[str, Batcher[Draft, Accepted | None]] = {}

    async def accept(
        self,
        organization: str,
        checked: Checked,
        *,
        key: Key | None,
        traceparent: str | None,
        api_key: str | None = None,
    ) -> Accepted:
        """Raises what `acceptance.accept` raises; and InstallationBacklogged, OrganizationBacklogged, but neither for
        what is to be done later, nor for what has been accepted already.
        """
        refused = self._backpressure.refusal(organization)
        if refused is not None and not acceptance.is_scheduled(checked.request):
            before = await acceptance.replay(self._database, organization, key) if key else None
            if before is None:
                raise refused
            return before
        draft = acceptance.draft(checked, key=key, traceparent=traceparent, api_key=api_key)
        batcher = self._batchers.get(organization)
        if batcher is None:
            batcher = Batcher(partial(self._accept_all, organization), largest=LARGEST, at_once=True)
            self._batchers[organization] = batcher
        try:
            accepted = await batcher(draft)
        finally:
            if batcher.idle and self._batchers.get(organization) is batcher:
                del self._batchers[organization]
        return accepted or await acceptance.accept_draft(self._database, organization, draft)

    async def _accept_one(self, organization: str, draft: Draft) -> Accepted:
        onward = self._carry_on
        if onward is None or not (onward.room and draft.for_now and self._may_pass(organization)):
            return await acceptance.accept_draft(self._database, organization, draft)
        accepted = await acceptance.accept_and_dispatch(self._database, organization, draft, onward)
        if accepted.task is not None:
            failpoints.hit("api.before_carry_on")
            onward.send([accepted.task], ahead=accepted.ahead)
        elif not (accepted.replayed or accepted.crowded):
            self._refused.note(organization)
        return accepted

    def _may_pass(self, organization: str) -> bool:
        """Whether the database is asked."""
        now = time.monotonic()
        quiet, self._last = now - self._last >= QUIET, now
        seldom = organization not in self._lately and now - self._last_seldom >= APART
        self._lately.note(organization)
        if organization in self._refused:
            return False
        if seldom:
            self._last_seldom = now
        return quiet or seldom

    async def _accept_all(self, organization: str, drafts: Sequence[Draft]) -> Sequence[Accepted | None]:
        """None for those that have to be asked alone."""
        failpoints.hit("api.before_accept")
        if len(drafts) == 1:
            ALONE.inc()
            return [await self._accept_one(organization, drafts[0])]
        self._last = time.monotonic()
        try:
            accepted = await acceptance.accept_drafts(self._database, organization, drafts)
        except asyncpg.PostgresConnectionError:
            raise  # whether it was committed is not known, and must not be guessed
        except asyncpg.PostgresError:
            return [None] * len(drafts)  # one of them may be to blame: only that one shall be refused
        failpoints.hit("api.after_batch")
        TOGETHER.inc(sum(each is not None for each in accepted))
        return accepted

"""Where the requests of one API process come in. While one of an organization's is on its way to the database, its
next ones wait, and then go together: one flush and one lock of its balance for all of them. A request that comes alone
goes at once, alone.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import asyncpg

from domain.generations import acceptance
from domain.generations.acceptance import Accepted, Checked, Draft
from domain.generations.backpressure import Backpressure
from domain.idempotency.keys import Key
from runtime import failpoints
from runtime.batching import Batcher
from runtime.database import Database
from runtime.telemetry import metrics

LARGEST: Final = 64
_ACCEPTS = metrics.counter("atelier_accepts_total", "Accepted generations, by how they reached the database.", ["how"])
ALONE, TOGETHER = _ACCEPTS.labels("alone"), _ACCEPTS.labels("together")


class Reception:
    """Lives on the event loop of the API."""

    def __init__(self, database: Database, backpressure: Backpressure) -> None:
        self._database = database
        self._backpressure = backpressure
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

    async def _accept_all(self, organization: str, drafts: Sequence[Draft]) -> Sequence[Accepted | None]:
        """None for those that have to be asked alone."""
        failpoints.hit("api.before_accept")
        if len(drafts) == 1:
            ALONE.inc()
            return [await acceptance.accept_draft(self._database, organization, drafts[0])]
        try:
            accepted = await acceptance.accept_drafts(self._database, organization, drafts)
        except asyncpg.PostgresConnectionError:
            raise  # whether it was committed is not known, and must not be guessed
        except asyncpg.PostgresError:
            return [None] * len(drafts)  # one of them may be to blame: only that one shall be refused
        failpoints.hit("api.after_batch")
        TOGETHER.inc(sum(each is not None for each in accepted))
        return accepted

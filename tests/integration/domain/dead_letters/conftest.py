"""Dead letters to decide about, and the clockwork that carries bulk operations out."""

import pytest

from domain.dead_letters import carrying_out
from domain.generations import lifecycle
from domain.tasks import claims
from domain.tasks.outcomes import Task
from tests.integration.domain.ledger import Ledger
from tests.integration.workers.conftest import Spine, spine

__all__ = ["spine"]


@pytest.fixture
def ledger(spine: Spine) -> Ledger:
    """Of the clockwork's organization, which has a hundred credits."""
    return Ledger(spine.database, spine.system, spine.organization.id)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice is over after each letter."""
    monkeypatch.setattr(carrying_out, "SLICE_SECONDS", 0)


async def dead_render(ledger: Ledger, reason: str = "the store is away") -> Task:
    """Its generation has failed, its credits were given back."""
    task = await ledger.running()
    async with ledger.database.transaction(task.organization_id) as tx:
        assert await claims.bury(tx, task, reason=reason)
    for reaction in await ledger.claim("generations.abandon"):
        async with ledger.database.transaction(reaction.organization_id) as tx:
            assert await claims.finish(tx, reaction)
            await lifecycle.abandon(tx, reaction)
    return task

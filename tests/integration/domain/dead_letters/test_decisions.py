"""What is decided of one letter."""

import pytest

from domain.dead_letters import decisions, letters
from domain.subscriptions.errors import InsufficientCredits
from domain.tasks import dead_letters
from domain.tasks.errors import DeadLetterNotFound, DeadLetterNotReplayable
from tests.integration.domain.dead_letters.conftest import dead_render


async def letter_of(ledger, task):
    async with ledger.system.system_transaction() as tx:
        return await dead_letters.one(tx, task.id)


async def test_a_replayed_image_is_made_after_all(ledger, spine):
    task = await dead_render(ledger)
    await decisions.replay(spine.database, await letter_of(ledger, task))
    await spine.drain()
    assert await ledger.status(task.subject) == "succeeded"
    assert await ledger.moves(task.subject) == [("hold", 1), ("release", 1), ("hold", 1), ("settle", 1)]


async def test_what_is_refused_stays_dead_and_says_why_once(ledger, spine):
    task = await dead_render(ledger)
    await ledger.rows("update credit_accounts set available = 0 returning 1")
    for _ in range(2):
        with pytest.raises(InsufficientCredits):
            await decisions.replay(spine.database, await letter_of(ledger, task))
    async with spine.system.system_transaction() as tx:
        letter = await letters.get(tx, task.id)
    assert letter.refusal is not None
    assert letter.refusal.endswith("(insufficient_credits)")
    assert letter.reason == "the store is away"
    assert [failure["kind"] for failure in letter.failures] == ["failure", "refusal"]
    assert await ledger.rows("select * from audit_entries") == []


async def test_what_is_discarded_cannot_be_replayed(ledger, spine):
    letter = await letter_of(ledger, await dead_render(ledger))
    await decisions.discard(spine.database, letter, "the customer has left")
    with pytest.raises(DeadLetterNotFound):
        await decisions.replay(spine.database, letter)
    (entry,) = await ledger.rows("select * from audit_entries")
    assert (entry.action, entry.details["reason"]) == ("dead_letter.discarded", "the customer has left")


async def test_a_task_of_an_actor_that_this_release_does_not_have_stays_dead(ledger, spine):
    task = await dead_render(ledger)
    await ledger.rows("update tasks set actor = 'moons.land' where id = :id returning 1", id=task.id)
    with pytest.raises(DeadLetterNotReplayable):
        await decisions.replay(spine.database, await letter_of(ledger, task))

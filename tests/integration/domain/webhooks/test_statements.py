"""How many statements deliveries take; one more is felt in each of them."""

from domain.webhooks.deliveries import DELIVER
from tests.integration.courier import Answers, Courier
from tests.integration.statements import asked

BATCHED = ("claim_tasks", "load_deliveries", "keep_bodies")
EVENTS = 4


async def test_deliveries_that_go_together_are_claimed_loaded_and_kept_by_one_statement_each(
    courier: Courier, receiver: Answers
) -> None:
    await courier.endpoint(receiver.url)
    for _ in range(EVENTS):
        await courier.happen()
    step = await courier.step()
    [tasks] = [sending.tasks for sending in step.messages if sending.actor == DELIVER]
    async with asked(courier.system) as texts:
        await courier.executor().run(tasks)
    assert [sum(name in text for text in texts) for name in BATCHED] == [1, 1, 1]
    assert len(receiver.requests) == EVENTS

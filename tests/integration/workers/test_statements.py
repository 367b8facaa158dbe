"""How many statements the ways of a task take; one more is felt in every image."""

import asyncio

from domain.generations.lifecycle import RENDER
from tests.integration.statements import asked
from tests.integration.workers.conftest import Spine

BATCHED = ("claim_and_start", "find_images")
ALL_BEFORE_IT_IS_DRAWN = 2
IMAGES = 4


async def test_an_accept_is_one_statement(spine: Spine) -> None:
    async with asked(spine.database) as texts:
        await spine.accept()
    assert len(texts) == 1


async def test_images_that_are_made_together_are_claimed_and_begun_by_one_statement_and_looked_for_by_one(
    spine: Spine,
) -> None:
    for number in range(IMAGES):
        await spine.accept(input={"label": str(number)})
    tasks = await spine.dispatch(RENDER)
    async with asked(spine.system) as texts:
        await spine.executor.run(tasks)
    assert [sum(name in text for text in texts) for name in BATCHED] == [1, 1]
    records = sum("record_and_tell_images" in text or "record_images" in text for text in texts)
    assert 1 <= records <= IMAGES
    assert len(texts) - records == ALL_BEFORE_IT_IS_DRAWN


async def test_messages_that_come_together_are_claimed_by_one_statement(spine: Spine) -> None:
    for number in range(IMAGES):
        await spine.accept(input={"label": str(number)})
    tasks = await spine.dispatch(RENDER)
    async with asked(spine.system) as texts:
        await asyncio.gather(*(spine.executor.run([task]) for task in tasks))
    assert [sum(name in text for text in texts) for name in BATCHED] == [1, 1]

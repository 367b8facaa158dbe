"""From an image straight to its webhooks, where nobody waits; and when that is left to the relay."""

import msgspec
import pytest

from domain.generations import batches
from domain.generations.lifecycle import RENDER
from domain.webhooks import endpoints
from domain.webhooks.deliveries import DELIVER
from domain.webhooks.endpoints import Draft
from queue_config import queues
from queue_config.stub_broker import StubBroker
from runtime import clock, failpoints
from runtime.settings import Settings
from tests.integration.courier import reaching_this_machine
from tests.integration.workers.conftest import Onward, Spine
from workers import carrying_on


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return reaching_this_machine(settings)


@pytest.fixture
def onward(spine: Spine) -> Onward:
    assert isinstance(spine.tools.carry_on, Onward)
    spine.tools.carry_on.room = queues.WEBHOOKS.window // 2
    return spine.tools.carry_on


@pytest.fixture
async def endpoint(spine: Spine) -> str:
    """Hears of images that are ready."""
    assert spine.tools.keyring is not None
    async with spine.database.transaction(spine.organization.id) as tx:
        made = await endpoints.create(
            tx,
            spine.organization.id,
            Draft(url="http://127.0.0.1:8123/hook", event_types=["generation.succeeded"]),
            keyring=spine.tools.keyring,
            settings=spine.settings,
        )
    return made.endpoint.id


async def made(spine: Spine, label: str = "A1") -> str:
    """Id of a generation that has its image."""
    generation = await spine.accept(input={"label": label})
    await spine.executor.run(await spine.dispatch(RENDER))
    return generation


async def webhooks(spine: Spine, generation: str) -> list[tuple[int, str]]:
    query = "select t.id, t.state from tasks t where t.actor = :actor and t.subject = :subject order by t.id"
    return [tuple(row) for row in await spine.rows(query, actor=DELIVER, subject=generation)]


async def sent_by_the_relay(spine: Spine) -> list[int]:
    return [task for sending in (await spine.step()).messages if sending.actor == DELIVER for task in sending.tasks]


async def test_the_webhooks_of_an_image_are_dispatched_by_its_record_and_not_again_by_the_relay(
    spine: Spine, onward: Onward, endpoint: str
) -> None:
    generation = await made(spine)
    [(task, state)] = await webhooks(spine, generation)
    assert (onward.sent, state) == ([task], "dispatched")
    assert await sent_by_the_relay(spine) == []
    assert await webhooks(spine, generation) == [(task, "dispatched")]
    assert await spine.value("select count(*) from deliveries") == 1
    assert await spine.value("select count(*) from feed where type = 'generation.succeeded'") == 1


async def test_a_message_that_was_lost_on_the_way_is_sent_again_by_the_relay(
    spine: Spine, onward: Onward, endpoint: str
) -> None:
    await made(spine)
    await sent_by_the_relay(spine)
    await spine.connection.execute("update tasks set dispatched_at = now() - interval '1 minute'")
    assert await sent_by_the_relay(spine) == onward.sent


@pytest.mark.parametrize("trouble", [endpoints.mark_slow, endpoints.mark_failing])
async def test_an_endpoint_that_struggles_is_left_to_the_relay_which_knows_its_lane(
    trouble, spine: Spine, onward: Onward, endpoint: str
) -> None:
    async with spine.database.transaction(spine.organization.id) as tx:
        await trouble(tx, spine.organization.id, endpoint, clock.machine())
    generation = await made(spine)
    [(task, state)] = await webhooks(spine, generation)
    assert (onward.sent, state) == ([], "ready")
    assert await sent_by_the_relay(spine) + await sent_by_the_relay(spine) == [task]


async def test_where_many_wait_already_the_relay_decides_whose_turn_it_is(
    spine: Spine, onward: Onward, endpoint: str
) -> None:
    onward.room = 1
    first, second = await made(spine), await made(spine, "A2")
    [(task, _)] = await webhooks(spine, first)
    assert onward.sent == [task]
    [(other, state)] = await webhooks(spine, second)
    assert state == "ready"
    assert await sent_by_the_relay(spine) == [other]


async def test_of_images_that_end_together_the_webhooks_are_left_to_the_relay(
    spine: Spine, onward: Onward, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "FEW", 0)
    generation = await made(spine)
    assert (onward.sent, await webhooks(spine, generation)) == ([], [])
    assert len(await sent_by_the_relay(spine)) == 1


async def test_who_has_no_endpoint_is_told_nothing(spine: Spine, onward: Onward) -> None:
    generation = await made(spine)
    assert (onward.sent, await webhooks(spine, generation)) == ([], [])
    assert await spine.entries(generation) == ["hold", "settle"]


async def test_a_record_that_comes_too_late_tells_nobody(spine: Spine, onward: Onward, endpoint: str) -> None:
    generation = await spine.accept()
    ids = await spine.dispatch(RENDER)
    failpoints.configure("worker.before_record=raise")
    await spine.executor.run(ids)
    failpoints.configure("")
    assert (onward.sent, await webhooks(spine, generation)) == ([], [])


async def test_a_message_names_the_tasks_for_the_workers_who_send_webhooks() -> None:
    broker = StubBroker(queues.QUEUES)
    telling = carrying_on.to_webhooks(broker)
    telling.send([1, 2])
    found = None
    while found is None:
        found = next(broker.consume("webhooks", timeout=100))
    assert (found.actor_name, found.args) == (DELIVER, ([1, 2],))
    assert msgspec.json.decode(telling.reaction)["targets"] == "webhook_targets"

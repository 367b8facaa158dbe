"""From an accept straight to a worker, where nobody waits; and when that is left to the relay."""

import asyncio
import hashlib
from datetime import timedelta

import asyncpg
import msgspec
import pytest
from sqlalchemy import text

from domain.generations import acceptance, reception
from domain.generations.acceptance import Accepted, Request
from domain.generations.backpressure import Backpressure
from domain.generations.lifecycle import RENDER
from domain.generations.reception import Reception
from domain.idempotency.keys import Key
from domain.subscriptions.errors import InsufficientCredits
from queue_config import queues
from queue_config.errors import BrokerUnavailableError
from queue_config.stub_broker import StubBroker
from runtime import clock, failpoints
from tests.integration.conftest import Organization, OrganizationFactory
from tests.integration.workers.conftest import BADGE, Onward, Spine
from workers import carrying_on

KEY = Key(scope="live POST /v1/generations", key="k1", fingerprint=hashlib.sha256(b"x").digest())


class Desk:
    """Asks as the API does, one request after the other."""

    def __init__(self, spine: Spine) -> None:
        self.onward = Onward(room=4, reaction=carrying_on.to_images(StubBroker(queues.QUEUES)).reaction)
        self._spine = spine
        self._reception = Reception(spine.database, Backpressure(), self.onward)

    async def ask(self, *, of: Organization | None = None, key: Key | None = None, **request: object) -> Accepted:
        checked = acceptance.check(msgspec.convert({"template": "badge", "input": BADGE} | request, Request))
        organization = of or self._spine.organization
        return await self._reception.accept(organization.id, checked, key=key, traceparent=None)


@pytest.fixture
def desk(spine: Spine, monkeypatch: pytest.MonkeyPatch) -> Desk:
    for rest in ("QUIET", "APART", "REFUSED_REST"):
        monkeypatch.setattr(reception, rest, 0)
    monkeypatch.setattr(reception, "LATELY", 3600)
    return Desk(spine)


def _id(accepted: Accepted) -> str:
    return str(msgspec.json.decode(accepted.body)["id"])


async def renders(spine: Spine) -> list[str]:
    """States of the images' tasks, oldest first."""
    return [
        row[0] for row in await spine.rows("select state from tasks where actor = :actor order by id", actor=RENDER)
    ]


async def test_a_request_that_comes_where_nobody_waits_has_one_task_which_the_relay_does_not_send_again(
    spine: Spine, desk: Desk
) -> None:
    accepted = await desk.ask()
    assert desk.onward.sent == [accepted.task]
    assert await renders(spine) == ["dispatched"]
    assert await spine.dispatch(RENDER) == []
    assert await renders(spine) == ["dispatched"]
    assert await spine.value("select count(*) from feed where type = 'generation.accepted'") == 1
    await spine.executor.run(desk.onward.sent)
    assert await spine.status(_id(accepted)) == "succeeded"
    assert await spine.entries(_id(accepted)) == ["hold", "settle"]


async def test_it_may_be_drawn_before_the_relay_has_seen_that_it_was_accepted(spine: Spine, desk: Desk) -> None:
    accepted = await desk.ask()
    await spine.executor.run(desk.onward.sent)
    assert await spine.status(_id(accepted)) == "succeeded"
    await spine.drain()
    assert await renders(spine) == ["done"]
    query = "select type from feed where subject = :id order by position"
    told = [row[0] for row in await spine.rows(query, id=_id(accepted))]
    assert told == ["generation.accepted", "generation.succeeded"]


async def test_a_message_that_was_lost_on_the_way_is_sent_again_by_the_relay(spine: Spine, desk: Desk) -> None:
    await desk.ask()
    await spine.connection.execute("update tasks set dispatched_at = now() - interval '1 minute'")
    assert await spine.dispatch(RENDER) == desk.onward.sent


async def test_who_dies_between_the_commit_and_the_message_leaves_it_to_the_relay(spine: Spine, desk: Desk) -> None:
    failpoints.configure("api.before_carry_on=raise")
    with pytest.raises(failpoints.FailpointError):
        await desk.ask()
    failpoints.configure("")
    await spine.connection.execute("update tasks set dispatched_at = now() - interval '1 minute'")
    assert (desk.onward.sent, len(await spine.dispatch(RENDER))) == ([], 1)


async def test_a_request_that_is_asked_again_goes_to_no_worker_again(spine: Spine, desk: Desk) -> None:
    first, again = await desk.ask(key=KEY), await desk.ask(key=KEY)
    assert (again.replayed, again.body) == (True, first.body)
    assert (desk.onward.sent, await renders(spine)) == ([first.task], ["dispatched"])


async def test_without_credits_there_is_no_task(
    spine: Spine, desk: Desk, make_organization: OrganizationFactory
) -> None:
    with pytest.raises(InsufficientCredits):
        await desk.ask(of=await make_organization(grant=0))
    assert (desk.onward.sent, await renders(spine)) == ([], [])


async def test_where_others_are_on_their_way_already_the_relay_decides_whose_turn_it_is(
    spine: Spine, desk: Desk
) -> None:
    desk.onward.room = 1
    await desk.ask()
    assert (await desk.ask()).task is None
    assert len(desk.onward.sent) == 1
    assert len(await spine.dispatch(RENDER)) == 1


async def test_who_has_had_less_than_his_share_goes_ahead_of_all_that_are_on_their_way_and_takes_his_turn_by_it(
    spine: Spine, desk: Desk, make_organization: OrganizationFactory
) -> None:
    desk.onward.room, other = 1, await make_organization(name="Other")
    await desk.ask()
    ahead = await desk.ask(of=other)
    assert (ahead.ahead, desk.onward.ahead[-1:]) == (True, [ahead.task])
    assert (await desk.ask(of=other)).task is None, "he has had his turn"
    turns = "select turn from queue_turns where organization_id = :id and queue = 'images'"
    weight = await spine.value("select weight from organization_shares(array[:id])", id=other.id)
    assert await spine.value(turns, id=other.id) == 1 / weight
    await spine.drain()
    await spine.connection.execute("update queue_turns set turn = 9 where organization_id = 'org_system'")
    await desk.ask()
    assert (await desk.ask(of=other)).ahead, "all others are further by now"


async def test_where_requests_come_fast_only_those_who_ask_seldom_pass_the_relay(
    spine: Spine, desk: Desk, make_organization: OrganizationFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "QUIET", 60)
    desk.onward.room = 100
    assert [(await desk.ask()).task is None for _ in range(3)] == [False, True, True]
    assert (await desk.ask(of=await make_organization(name="Other"))).ahead
    monkeypatch.setattr(reception, "QUIET", 0)
    await spine.drain()
    assert (await desk.ask()).task is not None


async def test_nobody_passes_what_he_has_waiting_himself(spine: Spine, desk: Desk) -> None:
    await spine.accept()
    await spine.dispatch(RENDER)
    await spine.connection.execute("update tasks set state = 'ready'")
    assert (await desk.ask()).task is None
    assert desk.onward.sent == []


async def test_what_is_planned_for_later_keeps_nobody_waiting(spine: Spine, desk: Desk) -> None:
    later = await desk.ask(run_at=clock.rfc3339(clock.machine() + timedelta(hours=1)))
    await spine.step()
    assert (later.task, await renders(spine)) == (None, ["ready"])
    assert (await desk.ask()).task is not None


async def test_no_plan_has_more_images_at_once_than_it_gives(spine: Spine, desk: Desk) -> None:
    most = int(await spine.value("select images_at_once from plans where id = 'free'"))
    desk.onward.room = most + 2
    for _ in range(most + 1):
        await desk.ask()
    assert await renders(spine) == ["dispatched"] * most


async def test_who_is_refused_for_what_he_has_himself_closes_the_way_to_nobody_else(
    spine: Spine, make_organization: OrganizationFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rest, seconds in {"QUIET": 0, "APART": 0, "LATELY": 3600, "REFUSED_REST": 3600}.items():
        monkeypatch.setattr(reception, rest, seconds)
    desk, busy = Desk(spine), await make_organization(name="Busy")
    await spine.accept(busy)
    await spine.dispatch(RENDER)
    await spine.connection.execute("update tasks set state = 'ready'")
    assert (await desk.ask(of=busy)).task is None
    assert (await desk.ask()).task is not None
    await spine.drain()
    assert (await desk.ask(of=busy)).task is None, "he is left to the relay for a while"


async def test_it_does_not_wait_for_the_relay_while_that_has_the_turn_in_its_hands(spine: Spine, desk: Desk) -> None:
    await desk.ask()
    await spine.connection.execute("update queue_turns set turn = 0")
    await spine.connection.execute(
        "insert into queue_turns (organization_id, queue, turn) values ('org_system', 'images', 1)"
    )
    async with spine.system.system_transaction() as tx:
        await tx.execute(text("select from queue_turns for update"))
        async with asyncio.timeout(5):
            assert (await desk.ask()).task is None
    assert (await desk.ask()).ahead


async def test_it_takes_its_organization_from_the_setting_and_the_rest_from_an_event_of_it(
    spine: Spine, desk: Desk
) -> None:
    await desk.ask(of=None)
    event = await spine.value("select id from events where type = 'generation.accepted'")
    other = desk.onward.reaction.replace("generations.render", "webhooks.deliver")
    dispatch = "select task from dispatch_at_once($1, $2::jsonb, 100)"
    connection = await asyncpg.connect(spine.settings.database_url)
    try:
        with pytest.raises(asyncpg.UndefinedObjectError):
            await connection.fetchval(dispatch, event, desk.onward.reaction)
        await connection.execute(f"set app.organization = '{spine.organization.id}'")
        assert await connection.fetchval(dispatch, "evt_invented", desk.onward.reaction) is None
        assert await connection.fetchval(dispatch, event, other) is None
        with pytest.raises(asyncpg.UniqueViolationError):  # it has its task
            await connection.fetchval(dispatch, event, desk.onward.reaction)
    finally:
        await connection.close()


async def test_what_breaks_on_the_way_to_the_broker_is_left_to_the_relay_like_a_broker_that_is_away() -> None:
    class Broken(StubBroker):
        def enqueue_many(self, messages: object) -> None:
            raise RuntimeError("nobody expected this")

    onward = carrying_on.to_images(Broken(queues.QUEUES))
    onward.send([1])
    await asyncio.gather(*onward._sending)
    assert onward.room == 0


async def test_while_the_broker_is_away_all_is_left_to_the_relay() -> None:
    class Away(StubBroker):
        def enqueue_many(self, messages: object) -> None:
            raise BrokerUnavailableError("away")

    onward = carrying_on.to_images(Away(queues.QUEUES))
    assert onward.room > 0
    onward.send([1])
    await asyncio.gather(*onward._sending)
    assert onward.room == 0

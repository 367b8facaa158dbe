"""Deliveries through the whole ledger to a real receiver, which verifies them with the `standardwebhooks` package."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook

from domain.dead_letters import letters
from domain.dead_letters.letters import Filter
from domain.generations.events import GenerationCancelled, GenerationSucceeded
from domain.tasks import dead_letters
from domain.webhooks import deliveries, endpoints
from domain.webhooks.endpoints import Change
from domain.webhooks.errors import DeliveryNotFound, DeliveryPending, EndpointDisabled
from runtime import failpoints, outbound
from tests import http_server
from tests.integration.courier import TRACEPARENT, Answers, Courier

OK = http_server.response(b"thanks")
DOWN = http_server.response(b"down", status=500)
GONE = http_server.response(status=410)


async def replay(courier: Courier, delivery_id: str) -> None:
    async with courier.database.transaction(courier.organization) as tx:
        await deliveries.replay(tx, courier.organization, delivery_id)


async def enable(courier: Courier, endpoint_id: str, *, status: str = "enabled") -> None:
    async with courier.database.transaction(courier.organization) as tx:
        await endpoints.change(
            tx,
            courier.organization,
            endpoint_id,
            msgspec.convert({"status": status}, Change),
            revisions=None,
            settings=courier.settings,
        )


async def use_up_all_but_one(courier: Courier) -> None:
    await courier.rows("update tasks set attempts = 9 where actor = 'webhooks.deliver' returning id")


async def endpoint_row(courier: Courier) -> dict[str, Any]:
    [row] = await courier.rows("select * from webhook_endpoints")
    return row


async def test_an_event_reaches_the_endpoint_and_is_verified_there(courier: Courier, receiver: Answers) -> None:
    made = await courier.endpoint(receiver.url)
    [event_id] = await courier.happen()
    await courier.deliver()
    (request,) = receiver.requests
    body = Webhook(made.secret).verify(request.body, request.headers)
    assert body["type"] == "generation.cancelled"
    assert body["data"]["id"] == "gen_1"
    assert request.headers["webhook-id"] == event_id
    assert request.headers["traceparent"].split("-")[1] == TRACEPARENT.split("-")[1]
    occurred = await courier.value("select occurred_at from events where id = :id", id=event_id)
    assert body["timestamp"] == occurred.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    delivery = await courier.delivery()
    assert (delivery["status"], delivery["attempts"], delivery["next_attempt_at"]) == ("delivered", 1, None)
    assert delivery["delivered_at"] is not None


async def test_an_endpoint_hears_of_the_types_that_it_names(courier: Courier, receiver: Answers) -> None:
    await courier.endpoint(receiver.url, event_types=["generation.succeeded"])
    fact = GenerationSucceeded(subject="gen_2", asset="ast_1", credits=1, reused=False)
    await courier.happen(GenerationCancelled(subject="gen_1", by="caller"), fact)
    await courier.deliver()
    assert [msgspec.json.decode(request.body)["type"] for request in receiver.requests] == ["generation.succeeded"]


async def test_each_attempt_sends_the_same_bytes_under_the_same_id(courier: Courier, receiver: Answers) -> None:
    receiver.answers[:] = [DOWN, http_server.response(status=302, headers={"location": receiver.url}), OK]
    made = await courier.endpoint(receiver.url)
    [event_id] = await courier.happen()
    await courier.deliver()
    assert (await courier.delivery())["status"] == "pending"
    for least in (timedelta(seconds=3), timedelta(minutes=3)):
        assert await courier.wait() >= least
        await courier.deliver()
    first, second, third = receiver.requests
    assert first.body == second.body == third.body
    assert len(courier.described) == 1
    for request in receiver.requests:
        assert request.headers["webhook-id"] == event_id
        Webhook(made.secret).verify(request.body, request.headers)
    delivery = await courier.delivery()
    assert (delivery["status"], delivery["attempts"]) == ("delivered", 3)
    assert [attempt["status_code"] for attempt in await courier.attempts()] == [500, 302, 200]


async def test_attempts_are_kept_with_their_answers_and_append_no_events(courier: Courier, receiver: Answers) -> None:
    receiver.answers[:] = [http_server.response(b"a\0b\xff" + b"c" * 20_000, status=500)]
    await courier.endpoint(receiver.url)
    await courier.happen()
    before = await courier.value("select count(*) from events")
    await courier.deliver()
    assert await courier.value("select count(*) from events") == before
    [attempt] = await courier.attempts()
    assert attempt["response_body"].startswith("a\ufffdb\ufffdccc")
    assert len(attempt["response_body"].encode()) <= 16 * 1024
    assert attempt["error"] is None
    assert attempt["duration_ms"] >= 0


async def test_the_receiver_decides_when_it_is_asked_again(courier: Courier, receiver: Answers) -> None:
    receiver.answers[:] = [http_server.response(status=429, headers={"retry-after": "1200"})]
    await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    planned = (await courier.delivery())["next_attempt_at"]
    assert planned == await courier.value("select run_at from tasks where actor = 'webhooks.deliver'")
    assert timedelta(minutes=19) < await courier.wait() < timedelta(minutes=25)


async def test_both_secrets_sign_until_the_old_ones_grace_is_over(courier: Courier, receiver: Answers) -> None:
    made = await courier.endpoint(receiver.url)
    async with courier.database.transaction(courier.organization) as tx:
        rotated = await endpoints.rotate(tx, courier.organization, made.endpoint.id, keyring=courier.keyring)
    await courier.happen()
    await courier.deliver()
    assert len(receiver.requests[0].headers["webhook-signature"].split(" ")) == 2
    for secret in (made.secret, rotated.secret):
        Webhook(secret).verify(receiver.requests[0].body, receiver.requests[0].headers)
    await courier.rows("update webhook_endpoints set previous_secret_until = now() returning id")
    await courier.happen()
    await courier.deliver()
    assert len(receiver.requests[1].headers["webhook-signature"].split(" ")) == 1
    Webhook(rotated.secret).verify(receiver.requests[1].body, receiver.requests[1].headers)


async def test_gone_disables_the_endpoint_and_what_was_on_its_way_to_it_fails(
    courier: Courier, receiver: Answers
) -> None:
    receiver.answers[:] = [DOWN, GONE, OK]
    await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    await courier.happen()
    await courier.deliver()
    endpoint = await endpoint_row(courier)
    assert (endpoint["status"], endpoint["disabled_reason"], endpoint["revision"]) == ("disabled", "gone", 2)
    facts = await courier.rows("select subject, data from events where type = 'webhook_endpoint.disabled'")
    assert facts == [{"subject": endpoint["id"], "data": {"reason": "gone"}}]
    await courier.wait()
    await courier.deliver()
    ends = await courier.rows("select status, failure_code from deliveries order by id")
    assert [(end["status"], end["failure_code"]) for end in ends] == [
        ("failed", "endpoint_disabled"),
        ("failed", "endpoint_gone"),
    ]
    await courier.happen()
    await courier.deliver()
    assert len(receiver.requests) == 2
    assert len(await courier.rows("select id from deliveries")) == 2


async def test_an_address_that_is_refused_as_it_is_dialled_is_an_attempt_without_a_connection(
    courier: Courier, receiver: Answers
) -> None:
    await courier.endpoint(receiver.url)
    async with outbound.Outbound(outbound.Policy()) as strict:
        courier.client = strict
        await courier.happen()
        await courier.deliver()
    [attempt] = await courier.attempts()
    assert (attempt["status_code"], attempt["error"]) == (None, "address_refused")
    assert (await courier.delivery())["status"] == "pending"
    assert receiver.server.connections == 0


async def test_the_end_of_the_schedule_is_the_end_of_the_delivery(courier: Courier, receiver: Answers) -> None:
    receiver.answers[:] = [DOWN]
    await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    await use_up_all_but_one(courier)
    await courier.wait()
    await courier.deliver()
    delivery = await courier.delivery()
    assert (delivery["status"], delivery["failure_code"]) == ("failed", "attempts_exhausted")
    assert delivery["next_attempt_at"] is None
    assert await courier.value("select state from tasks where actor = 'webhooks.deliver'") == "dead"
    assert await courier.value("select data ->> 'actor' from events where type = 'task.died'") == "webhooks.deliver"
    assert (await endpoint_row(courier))["status"] == "enabled"


async def test_a_delivery_whose_task_died_of_something_else_fails_too(
    courier: Courier, receiver: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def describe(*_: object) -> dict[str, Any]:
        raise RuntimeError

    monkeypatch.setattr(courier, "describe", describe)
    await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    await use_up_all_but_one(courier)
    await courier.wait()
    await courier.deliver()
    delivery = await courier.delivery()
    assert (delivery["status"], delivery["failure_code"], delivery["attempts"]) == ("failed", "internal_error", 0)
    assert receiver.requests == []


async def test_an_endpoint_that_nothing_reached_for_days_is_disabled_at_the_end_of_a_schedule(
    courier: Courier, receiver: Answers
) -> None:
    receiver.answers[:] = [DOWN]
    await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    assert (await endpoint_row(courier))["failing_since"] is not None
    await courier.rows("update webhook_endpoints set failing_since = now() - interval '5 days' returning id")
    await courier.wait()
    await courier.deliver()
    assert (await endpoint_row(courier))["status"] == "enabled"
    await use_up_all_but_one(courier)
    await courier.wait()
    await courier.deliver()
    endpoint = await endpoint_row(courier)
    assert (endpoint["status"], endpoint["disabled_reason"]) == ("disabled", "failing")
    assert (await courier.delivery())["failure_code"] == "attempts_exhausted"


async def test_one_success_makes_up_for_days_of_failure(courier: Courier, receiver: Answers) -> None:
    receiver.answers[:] = [DOWN, OK]
    await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    await courier.rows("update webhook_endpoints set failing_since = now() - interval '9 days' returning id")
    await courier.wait()
    await courier.deliver()
    endpoint = await endpoint_row(courier)
    assert (endpoint["status"], endpoint["failing_since"], endpoint["revision"]) == ("enabled", None, 1)


async def test_an_endpoint_deleted_while_it_is_being_asked_leaves_nothing_behind(courier: Courier) -> None:
    async def answer(request: http_server.Request, reader: Any, writer: Any) -> None:
        async with courier.database.transaction(courier.organization) as tx:
            await endpoints.remove(tx, courier.organization, made.endpoint.id)
        writer.write(DOWN)
        await writer.drain()

    async with http_server.serve(answer) as server:
        made = await courier.endpoint(server.url)
        await courier.happen()
        await courier.deliver()
        await courier.wait()
        await courier.deliver()
    assert await courier.value("select state from tasks where actor = 'webhooks.deliver'") == "done"
    assert await courier.rows("select id from deliveries") == await courier.attempts() == []
    assert len(server.requests) == 1


async def test_a_host_with_too_much_at_once_is_asked_later_and_that_is_no_attempt(
    courier: Courier, receiver: Answers
) -> None:
    courier.settings = msgspec.structs.replace(courier.settings, webhook_timeout=0.1)
    await courier.endpoint(receiver.url)
    await courier.happen()
    async with outbound.Outbound(courier.client.policy, per_host=1) as narrow, narrow.exchange("GET", receiver.url):
        courier.client = narrow
        await courier.deliver()
    assert await courier.attempts() == []
    assert await courier.value("select attempts from tasks where actor = 'webhooks.deliver'") == 0
    assert (await courier.delivery())["status"] == "pending"


async def test_what_was_received_but_not_recorded_comes_again_as_the_same_thing(
    courier: Courier, receiver: Answers
) -> None:
    await courier.endpoint(receiver.url)
    await courier.happen()
    failpoints.configure("webhook.after_2xx=raise")
    try:
        await courier.deliver()
    finally:
        failpoints.configure("")
    await courier.wait()
    await courier.deliver()
    first, second = receiver.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert (await courier.delivery())["status"] == "delivered"


async def test_a_replay_sends_the_same_bytes_under_the_same_id_on_a_schedule_of_its_own(
    courier: Courier, receiver: Answers
) -> None:
    made = await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    receiver.answers[:] = [DOWN, OK]
    await replay(courier, (await courier.delivery())["id"])
    await courier.deliver()
    assert (await courier.delivery())["status"] == "pending"
    await courier.wait()
    await courier.deliver()
    first, second, third = receiver.requests
    assert first.body == second.body == third.body
    assert {request.headers["webhook-id"] for request in receiver.requests} == {first.headers["webhook-id"]}
    Webhook(made.secret).verify(third.body, third.headers)
    delivery = await courier.delivery()
    assert (delivery["status"], delivery["attempts"]) == ("delivered", 3)
    chain = "select correlation_id, causation_id from events where type = 'delivery.replayed'"
    assert await courier.rows(chain) == [{"correlation_id": "gen_1", "causation_id": first.headers["webhook-id"]}]


async def test_a_replay_takes_the_delivery_and_its_earlier_replays_out_of_the_dead_letters(
    courier: Courier, receiver: Answers
) -> None:
    receiver.answers[:] = [DOWN]
    await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    await fail_for_good(courier)
    delivery_id = (await courier.delivery())["id"]
    await replay(courier, delivery_id)
    await courier.deliver()
    await fail_for_good(courier)
    receiver.answers[:] = [OK]
    await replay(courier, delivery_id)
    await courier.deliver()
    assert (await courier.delivery())["status"] == "delivered"
    states = "select state from tasks where actor = 'webhooks.deliver' order by id"
    assert [row["state"] for row in await courier.rows(states)] == ["cancelled", "cancelled", "done"]


async def fail_for_good(courier: Courier) -> None:
    await use_up_all_but_one(courier)
    await courier.wait()
    await courier.deliver()


async def test_an_operator_replays_the_dead_letter_of_a_delivery(courier: Courier, receiver: Answers) -> None:
    receiver.answers[:] = [DOWN]
    await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    await use_up_all_but_one(courier)
    await courier.wait()
    await courier.deliver()
    receiver.answers[:] = [OK]
    async with courier.system.system_transaction() as tx:
        [letter] = await letters.oldest(tx, Filter(actor=deliveries.DELIVER))
    async with courier.database.transaction(courier.organization) as tx:
        await deliveries.replay_dead(tx, letter)
        await dead_letters.supersede(tx, letter, by="operator")
    await courier.deliver()
    assert (await courier.delivery())["status"] == "delivered"
    assert await courier.rows("select id from tasks where state = 'dead'") == []


async def test_a_replay_that_dies_ends_the_delivery(
    courier: Courier, receiver: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    await replay(courier, (await courier.delivery())["id"])

    def decrypt(*_: object, **__: object) -> bytes:
        raise RuntimeError

    monkeypatch.setattr(courier.keyring, "decrypt", decrypt)
    await courier.deliver()
    await courier.rows("update tasks set attempts = 9 where state = 'ready' returning id")
    await courier.wait()
    await courier.deliver()
    delivery = await courier.delivery()
    assert (delivery["status"], delivery["failure_code"]) == ("failed", "internal_error")


async def test_a_delivery_that_a_disabled_endpoint_missed_can_be_replayed(courier: Courier, receiver: Answers) -> None:
    made = await courier.endpoint(receiver.url)
    [event_id] = await courier.happen()
    await courier.system.call("select * from expand_events(array['generation.cancelled'], $1, 10)", _expansion())
    await enable(courier, made.endpoint.id, status="disabled")
    await courier.deliver()
    missed = await courier.delivery()
    assert (missed["status"], missed["failure_code"], missed["body"]) == ("failed", "endpoint_disabled", None)
    with pytest.raises(EndpointDisabled):
        await replay(courier, missed["id"])
    await enable(courier, made.endpoint.id)
    await replay(courier, missed["id"])
    await courier.deliver()
    (request,) = receiver.requests
    body = Webhook(made.secret).verify(request.body, request.headers)
    assert (body["type"], body["data"]["id"]) == ("generation.cancelled", "gen_1")
    assert request.headers["webhook-id"] == event_id


def _expansion() -> str:
    reaction = {"actor": "webhooks.deliver", "queue": "webhooks", "priority": 0, "targets": "webhook_targets"}
    return msgspec.json.encode([reaction | {"event": "generation.cancelled"}]).decode()


async def test_what_is_on_its_way_is_not_replayed_and_neither_is_what_is_unknown(
    courier: Courier, receiver: Answers
) -> None:
    receiver.answers[:] = [DOWN]
    await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    with pytest.raises(DeliveryPending):
        await replay(courier, (await courier.delivery())["id"])
    with pytest.raises(DeliveryNotFound):
        await replay(courier, "dlv_unknown")


async def test_a_test_goes_to_its_endpoint_alone(courier: Courier, receiver: Answers) -> None:
    made = await courier.endpoint(receiver.url, event_types=["generation.succeeded"])
    await courier.endpoint(f"{receiver.url}/other")
    async with courier.database.transaction(courier.organization) as tx:
        event_id = await endpoints.send_test(tx, courier.organization, made.endpoint.id)
    await courier.deliver()
    (request,) = receiver.requests
    body = Webhook(made.secret).verify(request.body, request.headers)
    assert (request.target, body["type"], request.headers["webhook-id"]) == (
        "/hook",
        "webhook_endpoint.tested",
        event_id,
    )

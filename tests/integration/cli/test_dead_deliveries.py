"""Deliveries that died, replayed by the command line up to the receiver."""

import pytest

from runtime.settings import Settings
from tests import http_server
from tests.integration.courier import Answers, Courier, courier, keyring, reaching_this_machine, receiver

__all__ = ["courier", "keyring", "receiver"]

USE_UP = "update tasks set attempts = 99, run_at = now() where actor = 'webhooks.deliver' returning id"
DOWN = http_server.response(status=500)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return reaching_this_machine(settings)


async def dead_delivery(courier: Courier, receiver: Answers) -> str:
    """The number of its task."""
    receiver.answers[:] = [DOWN]
    await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    await courier.value(USE_UP)
    await courier.deliver()
    return str(await courier.value("select id from tasks where state = 'dead'"))


async def test_a_dead_delivery_is_sent_once_more_as_it_was(atelier, courier: Courier, receiver: Answers):
    task = await dead_delivery(courier, receiver)
    assert (await courier.delivery())["status"] == "failed"
    receiver.answers[:] = [http_server.NO_CONTENT]
    answer = await atelier("dead-letters", "replay", "--all", "--actor", "webhooks.deliver")
    assert (answer.status, answer.out) == (0, f"✓ {task} replayed\n")
    await courier.deliver()
    assert (await courier.delivery())["status"] == "delivered"
    first, *_, last = receiver.requests
    assert (first.body, first.headers["webhook-id"]) == (last.body, last.headers["webhook-id"])
    assert (await atelier("dead-letters", "list")).out == "Nothing waits for a person.\n"


async def test_one_whose_endpoint_is_disabled_stays_and_it_is_said_why(atelier, courier: Courier, receiver: Answers):
    task = await dead_delivery(courier, receiver)
    await courier.value("update webhook_endpoints set status = 'disabled' returning id")
    answer = await atelier("dead-letters", "replay", task)
    assert (answer.status, answer.out) == (1, "")
    assert "(webhook_endpoint_disabled)" in answer.err
    assert (await atelier("dead-letters", "list", "--json")).json["dead_letters"][0]["id"] == int(task)

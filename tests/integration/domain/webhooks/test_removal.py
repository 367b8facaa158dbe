"""A deleted endpoint is gone at once for everybody; its rows go later, a batch at a time, and nobody waits for them."""

import asyncio

import pytest
from sqlalchemy import text

from domain.pages import PageRequest
from domain.webhooks import deliveries, endpoints, removal
from domain.webhooks.endpoints import Change
from domain.webhooks.errors import DeliveryNotFound, EndpointNotFound
from tests.integration.conftest import OrganizationFactory
from tests.integration.courier import Answers, Courier

DOWN = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


async def remove(courier: Courier, endpoint_id: str) -> None:
    async with courier.database.transaction(courier.organization) as tx:
        await endpoints.remove(tx, courier.organization, endpoint_id)


async def pass_the_linger(courier: Courier) -> None:
    async with courier.system.system_transaction() as tx:
        await tx.execute(text("update webhook_endpoints set updated_at = now() - interval '1 h'"))
        await tx.execute(text("update tasks set run_at = now() where state = 'ready'"))


async def test_an_open_deletion_delays_no_step_of_the_relay(
    courier: Courier, receiver: Answers, make_organization: OrganizationFactory
) -> None:
    first = courier.organization
    mine = await courier.endpoint(receiver.url)
    await courier.happen()
    courier.organization = (await make_organization(name="Other")).id
    await courier.endpoint(f"{receiver.url}/other")
    await courier.happen()
    async with courier.database.transaction(first) as tx:
        await endpoints.remove(tx, first, mine.endpoint.id)
        async with asyncio.timeout(3):
            await courier.deliver()
        assert sorted(request.target for request in receiver.requests) == ["/hook", "/hook/other"]


async def test_a_deleted_endpoint_is_seen_by_no_caller_and_has_forgotten_its_address_and_secrets(
    courier: Courier, receiver: Answers
) -> None:
    made = await courier.endpoint(receiver.url, description="mine")
    await courier.happen()
    await courier.deliver()
    await remove(courier, made.endpoint.id)
    organization, gone = courier.organization, made.endpoint.id
    async with courier.database.transaction(organization) as tx:
        assert (await endpoints.page(tx, organization, PageRequest())).items == []
        for attempt in (
            endpoints.get(tx, organization, gone),
            endpoints.remove(tx, organization, gone),
            endpoints.rotate(tx, organization, gone, keyring=courier.keyring),
            endpoints.send_test(tx, organization, gone),
            endpoints.change(
                tx, organization, gone, Change(status="enabled"), revisions=None, settings=courier.settings
            ),
        ):
            with pytest.raises(EndpointNotFound):
                await attempt
        with pytest.raises(DeliveryNotFound):
            await deliveries.replay(tx, organization, (await courier.delivery())["id"])
    kept = "select status, url, description, secret, previous_secret from webhook_endpoints"
    empty = {"status": "deleted", "url": "", "description": "", "secret": b"", "previous_secret": None}
    assert await courier.rows(kept) == [empty]


async def test_what_was_on_its_way_to_a_deleted_endpoint_fails_and_nothing_more_is_sent(
    courier: Courier, receiver: Answers
) -> None:
    receiver.answers[:] = [DOWN]
    made = await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    await remove(courier, made.endpoint.id)
    async with courier.system.system_transaction() as tx:  # the try comes before the clearing away
        await tx.execute(text("delete from pending_events"))
    await courier.wait()
    await courier.deliver()
    delivery = await courier.delivery()
    assert (delivery["status"], delivery["failure_code"]) == ("failed", "endpoint_deleted")
    assert delivery["next_attempt_at"] is None
    assert len(receiver.requests) == 1


async def test_its_rows_are_taken_away_a_batch_at_a_time_and_its_own_last(
    courier: Courier, receiver: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "BATCH", 2)
    made, other = await courier.endpoint(receiver.url), await courier.endpoint(f"{receiver.url}/other")
    for _ in range(5):
        await courier.happen()
    await courier.deliver()
    await remove(courier, made.endpoint.id)
    left = []
    while await courier.carry():
        rows = await courier.rows("select id from deliveries where endpoint_id = :id", id=made.endpoint.id)
        left.append(len(rows))
    assert left[:3] == [3, 1, 0]
    assert len(await courier.attempts()) == 5
    assert len(await courier.rows("select id from webhook_endpoints")) == 2
    await pass_the_linger(courier)
    await courier.deliver()
    assert await courier.rows("select id from webhook_endpoints") == [{"id": other.endpoint.id}]
    assert await courier.value("select state from tasks where actor = 'webhooks.purge'") == "done"


async def test_a_delivery_that_somebody_holds_is_taken_away_later(courier: Courier, receiver: Answers) -> None:
    made = await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    await remove(courier, made.endpoint.id)
    async with courier.system.system_transaction() as tx:
        await tx.execute(text("select id from deliveries for update"))
        async with asyncio.timeout(3):
            await courier.deliver()
        assert len(await courier.rows("select id from deliveries")) == 1
    await pass_the_linger(courier)
    await courier.deliver()
    await pass_the_linger(courier)
    await courier.deliver()
    assert (
        await courier.rows("select id from deliveries") == await courier.rows("select id from webhook_endpoints") == []
    )

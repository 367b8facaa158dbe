"""Endpoints as a customer keeps them: checked, encrypted, counted, and nobody else's."""

import asyncio
import base64
import re
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from domain.errors import PreconditionFailed
from domain.generations import events as generation_events
from domain.models import metadata
from domain.pages import PageRequest
from domain.webhooks import deliveries, endpoints, history, signing
from domain.webhooks.endpoints import Change, Endpoint, Unveiled
from domain.webhooks.errors import (
    DeliveryNotFound,
    EndpointDisabled,
    EndpointNotFound,
    EndpointUrlRefused,
    EventTypeUnknown,
    SecretMalformed,
    TooManyEndpoints,
)
from domain.webhooks.history import Filter
from runtime.encryption import DecryptionError
from tests.integration.conftest import OrganizationFactory
from tests.integration.courier import Answers, Courier

URL = "https://receiver.example/hook"


async def get(courier: Courier, endpoint_id: str) -> Endpoint:
    async with courier.database.read_only(courier.organization) as tx:
        return await endpoints.get(tx, courier.organization, endpoint_id)


async def change(courier: Courier, endpoint_id: str, revision: int | None = None, **wanted: Any) -> Endpoint:
    async with courier.database.transaction(courier.organization) as tx:
        return await endpoints.change(
            tx,
            courier.organization,
            endpoint_id,
            msgspec.convert(wanted, Change),
            revisions=None if revision is None else {revision},
            settings=courier.settings,
        )


async def rotate(courier: Courier, endpoint_id: str, **wanted: Any) -> Unveiled:
    async with courier.database.transaction(courier.organization) as tx:
        return await endpoints.rotate(tx, courier.organization, endpoint_id, keyring=courier.keyring, **wanted)


async def remove(courier: Courier, endpoint_id: str) -> None:
    async with courier.database.transaction(courier.organization) as tx:
        await endpoints.remove(tx, courier.organization, endpoint_id)


async def facts(courier: Courier) -> list[tuple[str, dict[str, Any]]]:
    rows = await courier.rows("select type, data from events where type like 'webhook_endpoint.%' order by id")
    return [(row["type"], row["data"]) for row in rows]


async def everything(courier: Courier) -> str:
    """Each row of each table, as text; bytes as hexadecimal digits."""
    texts = [await courier.rows(f"select t::text as row from {table} t") for table in metadata.tables]
    return "\n".join(row["row"] for rows in texts for row in rows)


async def test_an_endpoint_is_made_and_read_again(courier: Courier) -> None:
    made = await courier.endpoint(URL, description="mine", event_types=["generation.succeeded", "generation.failed"])
    assert made.endpoint == await get(courier, made.endpoint.id)
    assert made.endpoint.event_types == ["generation.failed", "generation.succeeded"]
    assert (made.endpoint.status, made.endpoint.revision) == ("enabled", 1)
    assert re.fullmatch(r"whe_[0-9a-z]{26}", made.endpoint.id)
    assert await facts(courier) == [("webhook_endpoint.created", {})]


async def test_no_secret_is_stored_in_clear(courier: Courier, receiver: Answers) -> None:
    brought = signing.new_secret()
    made = await courier.endpoint(receiver.url, secret=brought)
    assert made.secret == brought
    rotated = await rotate(courier, made.endpoint.id)
    await courier.happen()
    await courier.deliver()
    stored = await everything(courier)
    assert receiver.url in stored
    for secret in (brought, rotated.secret):
        key = secret.removeprefix(signing.PREFIX)
        assert key not in stored
        assert key.encode().hex() not in stored
        assert base64.b64decode(key).hex() not in stored


async def test_a_secret_copied_to_another_endpoint_cannot_be_read_there(courier: Courier) -> None:
    one, other = await courier.endpoint(URL), await courier.endpoint(URL)
    [row] = await courier.rows("select secret from webhook_endpoints where id = :id", id=one.endpoint.id)
    context = endpoints.context(courier.organization, one.endpoint.id)
    assert courier.keyring.decrypt(row["secret"], context=context) == one.secret.encode()
    with pytest.raises(DecryptionError):
        courier.keyring.decrypt(row["secret"], context=endpoints.context(courier.organization, other.endpoint.id))


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_?", "whsec_c2hvcnQ=", "whsec_é", base64.b64encode(bytes(32)).decode()]
)
async def test_a_secret_that_is_none_is_refused(courier: Courier, secret: str) -> None:
    with pytest.raises(SecretMalformed):
        await courier.endpoint(URL, secret=secret)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://receiver.example/",
        "https://user:password@receiver.example/",
        "https://10.0.0.1/",
        "https://[::ffff:169.254.169.254]/",
        "https://0177.0.0.1/",
        "http://127.0.0.1:8000/v1/generations",
        "nonsense",
    ],
)
async def test_a_url_that_leads_nowhere_good_is_refused_with_its_place(courier: Courier, url: str) -> None:
    with pytest.raises(EndpointUrlRefused) as refusal:
        await courier.endpoint(url)
    assert [field.pointer for field in refusal.value.fields] == ["/url"]
    made = await courier.endpoint(URL)
    with pytest.raises(EndpointUrlRefused):
        await change(courier, made.endpoint.id, url=url)


async def test_plain_http_is_refused_unless_the_operator_says_otherwise(courier: Courier) -> None:
    await courier.endpoint("http://receiver.example/")
    courier.settings = msgspec.structs.replace(courier.settings, webhook_insecure_http=False)
    with pytest.raises(EndpointUrlRefused, match="https"):
        await courier.endpoint("http://receiver.example/")


async def test_only_types_that_customers_see_can_be_asked_for(courier: Courier) -> None:
    assert generation_events.GenerationSucceeded.public
    with pytest.raises(EventTypeUnknown) as refusal:
        await courier.endpoint(URL, event_types=["generation.succeeded", "task.died", "generation.*"])
    assert [field.pointer for field in refusal.value.fields] == ["/event_types/1", "/event_types/2"]
    made = await courier.endpoint(URL)
    with pytest.raises(EventTypeUnknown):
        await change(courier, made.endpoint.id, event_types=["task.died"])


async def test_there_is_room_for_twenty_even_when_all_come_at_once(courier: Courier) -> None:
    made = await asyncio.gather(*(courier.endpoint(URL) for _ in range(24)), return_exceptions=True)
    assert [type(one) for one in made if isinstance(one, Exception)] == [TooManyEndpoints] * 4
    assert await courier.value("select count(*) from webhook_endpoints") == 20
    await remove(courier, next(one.endpoint.id for one in made if isinstance(one, Unveiled)))
    await courier.endpoint(URL)


async def test_a_change_touches_what_it_names_and_raises_the_revision(courier: Courier) -> None:
    made = await courier.endpoint(URL, description="mine", event_types=["generation.failed"])
    changed = await change(courier, made.endpoint.id, 1, description="yours", event_types=[])
    assert (changed.url, changed.description, changed.event_types, changed.revision) == (URL, "yours", [], 2)
    assert changed.updated_at > made.endpoint.updated_at
    assert await change(courier, made.endpoint.id, 2, description="yours") == changed
    fact = ("webhook_endpoint.changed", {"fields": ["description", "event_types"], "status": "enabled"})
    assert (await facts(courier))[1:] == [fact]


async def test_a_change_of_something_that_was_changed_meanwhile_is_refused(courier: Courier) -> None:
    made = await courier.endpoint(URL)
    await change(courier, made.endpoint.id, 1, description="first")
    with pytest.raises(PreconditionFailed):
        await change(courier, made.endpoint.id, 1, description="second")
    assert (await get(courier, made.endpoint.id)).description == "first"


async def test_changes_at_once_leave_one_that_was_right(courier: Courier) -> None:
    made = await courier.endpoint(URL)
    ends = await asyncio.gather(
        *(change(courier, made.endpoint.id, 1, description=str(n)) for n in range(5)), return_exceptions=True
    )
    assert sum(isinstance(end, Endpoint) for end in ends) == 1
    assert sum(isinstance(end, PreconditionFailed) for end in ends) == 4


async def test_a_disabled_endpoint_says_who_did_it_and_is_not_tested(courier: Courier) -> None:
    made = await courier.endpoint(URL)
    disabled = await change(courier, made.endpoint.id, status="disabled")
    assert (disabled.status, disabled.disabled_reason) == ("disabled", "caller")
    async with courier.database.transaction(courier.organization) as tx:
        with pytest.raises(EndpointDisabled):
            await endpoints.send_test(tx, courier.organization, made.endpoint.id)
    enabled = await change(courier, made.endpoint.id, status="enabled")
    assert (enabled.status, enabled.disabled_reason) == ("enabled", None)


async def test_a_rotation_keeps_the_old_secret_for_its_grace(courier: Courier) -> None:
    made = await courier.endpoint(URL)
    first = await rotate(courier, made.endpoint.id)
    assert first.endpoint.previous_secret_until is not None
    left = first.endpoint.previous_secret_until - first.endpoint.updated_at
    assert timedelta(hours=23, minutes=59) < left < timedelta(hours=24, minutes=1)
    assert first.secret != made.secret
    at_once = await rotate(courier, made.endpoint.id, grace=timedelta())
    assert at_once.endpoint.previous_secret_until is None
    assert at_once.endpoint.revision == 3
    assert (await facts(courier))[-1] == ("webhook_endpoint.changed", {"fields": ["secret"], "status": "enabled"})


async def test_a_deleted_endpoint_takes_its_deliveries_along(courier: Courier, receiver: Answers) -> None:
    made = await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    await remove(courier, made.endpoint.id)
    await courier.deliver()
    for table in ("deliveries", "delivery_attempts"):
        assert await courier.value(f"select count(*) from {table}") == 0
    assert (await facts(courier))[-1] == ("webhook_endpoint.deleted", {})
    with pytest.raises(EndpointNotFound):
        await remove(courier, made.endpoint.id)


async def test_another_organization_finds_nothing(
    courier: Courier, receiver: Answers, make_organization: OrganizationFactory
) -> None:
    made = await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    delivery = await courier.delivery()
    courier.organization = (await make_organization(name="Other")).id
    for attempt in (get, change, rotate, remove):
        with pytest.raises(EndpointNotFound):
            await attempt(courier, made.endpoint.id)
    async with courier.database.transaction(courier.organization) as tx:
        with pytest.raises(DeliveryNotFound):
            await deliveries.replay(tx, courier.organization, delivery["id"])
        with pytest.raises(DeliveryNotFound):
            await history.get(tx, courier.organization, delivery["id"])
        assert (await history.page(tx, courier.organization, PageRequest(), Filter())).items == []
        assert (await endpoints.page(tx, courier.organization, PageRequest())).items == []


async def test_lists_go_page_by_page_newest_first(courier: Courier) -> None:
    made = [(await courier.endpoint(URL)).endpoint.id for _ in range(5)]
    seen: list[str] = []
    last = None
    async with courier.database.read_only(courier.organization) as tx:
        while len(seen) < 5:
            page = await endpoints.page(tx, courier.organization, PageRequest(limit=2, after=last))
            seen += [endpoint.id for endpoint in page.items]
            last = page.last
    assert seen == made[::-1]
    assert last is None


async def test_deliveries_are_found_by_endpoint_event_type_and_status(courier: Courier, receiver: Answers) -> None:
    one, other = await courier.endpoint(receiver.url), await courier.endpoint(f"{receiver.url}/other")
    [first] = await courier.happen()
    await courier.deliver()
    [second] = await courier.happen(generation_events.GenerationFailed(subject="gen_1", code="picture_unreachable"))
    await courier.deliver()
    async with courier.database.read_only(courier.organization) as tx:

        async def found(**only: Any) -> set[tuple[str, str]]:
            page = await history.page(tx, courier.organization, PageRequest(), Filter(**only))
            return {(view.event_id, view.endpoint_id) for view in page.items}

        both = {one.endpoint.id, other.endpoint.id}
        assert await found() == {(event, endpoint) for event in (first, second) for endpoint in both}
        assert await found(endpoint_id=one.endpoint.id) == {(first, one.endpoint.id), (second, one.endpoint.id)}
        assert await found(event_id=first, endpoint_id=other.endpoint.id) == {(first, other.endpoint.id)}
        assert {event for event, _ in await found(event_type="generation.failed")} == {second}
        assert await found(status="failed") == set()


async def test_a_delivery_shows_what_was_sent_and_what_was_answered(courier: Courier, receiver: Answers) -> None:
    await courier.endpoint(receiver.url)
    await courier.happen()
    await courier.deliver()
    async with courier.database.read_only(courier.organization) as tx:
        shown = await history.get(tx, courier.organization, (await courier.delivery())["id"])
    assert shown.body is not None
    assert shown.body.encode() == receiver.requests[0].body
    assert (shown.status, shown.attempt_count) == ("delivered", 1)
    [attempt] = shown.attempts
    assert (attempt.status_code, attempt.error, attempt.response_body) == (204, None, "")

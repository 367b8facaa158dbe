"""The operators' API: dead letters and bulk operations, over HTTP."""

import asyncio

import openapi_spec_validator
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.api.operator.conftest import Operator
from tests.integration.domain.dead_letters.conftest import dead_render
from tests.integration.domain.ledger import Ledger

LETTERS, OPERATIONS = "/operator/dead-letters", "/operator/bulk-operations"


@pytest.fixture
def ledger(operator: Operator) -> Ledger:
    return Ledger(operator.spine.database, operator.spine.system, operator.spine.organization.id)


async def test_letters_are_listed_and_filtered_page_by_page(operator, ledger):
    tasks = [await dead_render(ledger, reason=reason) for reason in ("the store is away", "a font is missing", "store")]
    first = await operator.call("GET", f"{LETTERS}?limit=2")
    assert [letter["id"] for letter in first["data"]] == [tasks[2].id, tasks[1].id]
    rest = await operator.call("GET", f"{LETTERS}?limit=2&cursor={first['next_cursor']}")
    assert ([letter["id"] for letter in rest["data"]], rest["next_cursor"]) == ([tasks[0].id], None)
    narrowed = await operator.call("GET", f"{LETTERS}?reason=FONT&actor=generations.render&cause=attempts&queue=")
    assert [letter["id"] for letter in narrowed["data"]] == [tasks[1].id]
    assert (await operator.call("GET", f"{LETTERS}?died_after=2999-01-01T00:00:00"))["data"] == []
    problem = await operator.call("GET", f"{LETTERS}?cursor={first['next_cursor']}&actor=x", status=422)
    assert problem["code"] == "cursor_invalid"


async def test_one_is_shown_with_all_that_is_known_of_it(operator, ledger):
    task = await dead_render(ledger)
    letter = await operator.call("GET", f"{LETTERS}/{task.id}")
    assert (letter["actor"], letter["subject"], letter["event_type"]) == (
        "generations.render", task.subject, "generation.accepted",
    )  # fmt: skip
    assert letter["trail"] == f"/trail/{task.subject}"
    assert [failure["reason"] for failure in letter["failures"]] == ["the store is away"]
    await operator.page(letter["trail"])
    assert (await operator.call("GET", f"{LETTERS}/987654", status=404))["code"] == "dead_letter_not_found"


async def test_one_is_replayed_and_the_relay_hears_of_it(operator, ledger):
    task = await dead_render(ledger)
    assert await operator.call("POST", f"{LETTERS}/{task.id}/replay") == {"id": task.id, "decision": "replayed"}
    await operator.spine.drain()
    assert await ledger.status(task.subject) == "succeeded"
    assert (await operator.call("POST", f"{LETTERS}/{task.id}/replay", status=404))["code"] == "dead_letter_not_found"


async def test_without_credits_it_stays_dead_and_says_so(operator, ledger):
    task = await dead_render(ledger)
    await ledger.rows("update credit_accounts set available = 0 returning 1")
    problem = await operator.call("POST", f"{LETTERS}/{task.id}/replay", status=402)
    assert problem["code"] == "insufficient_credits"
    assert "insufficient_credits" in (await operator.call("GET", f"{LETTERS}/{task.id}"))["refusal"]


async def test_one_is_discarded_with_a_reason(operator, ledger):
    task = await dead_render(ledger)
    assert (await operator.call("POST", f"{LETTERS}/{task.id}/discard", {}, status=422))["code"] == "body_invalid"
    await operator.call("POST", f"{LETTERS}/{task.id}/discard", {"reason": "the customer has left"})
    assert (await operator.call("GET", LETTERS))["data"] == []


async def test_a_bulk_operation_is_started_followed_and_over(operator, ledger):
    for _ in range(3):
        await dead_render(ledger)
    wanted = {"action": "replay", "filter": {"actor": "generations.render"}, "rate": 50}
    begun = await operator.call("POST", OPERATIONS, wanted, status=202)
    assert (begun["status"], begun["matched"], begun["replayed"]) == ("running", 3, 0)
    await operator.spine.drain()
    ended = await operator.call("GET", f"{OPERATIONS}/{begun['id']}")
    assert (ended["status"], ended["replayed"]) == ("completed", 3)
    assert (await operator.call("GET", OPERATIONS))["data"] == [ended]
    problem = await operator.call("POST", f"{OPERATIONS}/{begun['id']}/cancel", status=409)
    assert problem["code"] == "bulk_operation_over"
    assert (await operator.call("GET", f"{OPERATIONS}/blk_x", status=404))["code"] == "bulk_operation_not_found"


async def test_one_operation_is_started_under_one_key(operator, ledger):
    await dead_render(ledger)
    wanted, once = {"action": "replay", "filter": {}}, {"idempotency-key": "the night of the 20th"}
    first = await operator.call("POST", OPERATIONS, wanted, status=202, **once)
    await operator.spine.drain()
    again = await operator.call("POST", OPERATIONS, wanted, status=202, **once)
    assert (again["id"], again["status"], again["replayed"]) == (first["id"], "completed", 1)
    problem = await operator.call("POST", OPERATIONS, wanted | {"rate": 5}, status=422, **once)
    assert problem["code"] == "idempotency_key_reused"
    problem = await operator.call("POST", OPERATIONS, wanted, status=422, **{"idempotency-key": "k" * 256})
    assert problem["code"] == "idempotency_key_malformed"
    assert len((await operator.call("GET", OPERATIONS))["data"]) == 1


async def test_what_stopped_after_its_key_was_kept_is_started_when_it_comes_again(operator, ledger):
    await dead_render(ledger)
    wanted, once = {"action": "replay", "filter": {}}, {"idempotency-key": "k1"}
    first = await operator.call("POST", OPERATIONS, wanted, status=202, **once)
    await operator.change("delete from bulk_operations")
    again = await operator.call("POST", OPERATIONS, wanted, status=202, **once)
    assert (again["id"], again["status"]) == (first["id"], "running")


async def test_one_that_is_cancelled_says_so(operator, ledger):
    await dead_render(ledger)
    begun = await operator.call("POST", OPERATIONS, {"action": "replay", "filter": {}}, status=202)
    cancelled = await operator.call("POST", f"{OPERATIONS}/{begun['id']}/cancel")
    assert cancelled["status"] == "cancelled"
    await operator.spine.drain()
    assert len((await operator.call("GET", LETTERS))["data"]) == 1


async def test_what_does_not_fit_is_refused_and_nothing_begins(operator, ledger):
    await dead_render(ledger)
    without_reason = {"action": "discard", "filter": {}}
    for wanted in (
        {"action": "replay", "filter": {"acter": "x"}},
        {"action": "replay", "filter": {}, "rate": 0},
        without_reason,
        without_reason | {"reason": "  "},
    ):
        assert (await operator.call("POST", OPERATIONS, wanted, status=422))["code"] == "body_invalid"
    assert (await operator.call("GET", OPERATIONS))["data"] == []


async def test_nothing_is_decided_without_the_token(operator, ledger):
    task = await dead_render(ledger)
    answer, _ = await operator.ask(f"/?token={operator.token}", redirect=False)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    for path in (f"{LETTERS}/{task.id}/replay", f"{LETTERS}/{task.id}/discard", OPERATIONS):
        for headers in ({}, {"cookie": cookie}, {"authorization": "Bearer x"}):
            url = operator.api.operator_url + path
            async with operator.api.client.post(url, json={}, headers=headers) as refused:
                assert refused.status == 401
    assert len((await operator.call("GET", LETTERS))["data"]) == 1


async def test_the_description_is_valid_and_true(operator, ledger):
    await dead_render(ledger)
    document = await operator.call("GET", "/operator/openapi.json")
    openapi_spec_validator.validate(document)
    assert {LETTERS, f"{LETTERS}/{{task_id}}/replay", OPERATIONS, f"{OPERATIONS}/{{operation_id}}/cancel"} <= set(
        document["paths"]
    )
    assert not [path for path in document["paths"] if not path.startswith(("/operator", "/health"))]
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"]
            assert not {"408", "429", "508"} & set(operation["responses"])
    assert {"DeadLetter", "BulkOperation", "BulkOperationRequest", "SearchHit"} <= set(
        document["components"]["schemas"]
    )
    await asyncio.to_thread(_drive, document, operator.api.operator_url, operator.bearer)


def _drive(document, base_url, headers):
    schema = schemathesis.openapi.from_dict(document)
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    for operation in schema.get_all_operations():

        @seed(1)
        @hypothesis_settings(
            max_examples=5, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.ok().as_strategy())
        def drive(case):
            case.call_and_validate(base_url=base_url, headers=headers, checks=checks)

        drive()

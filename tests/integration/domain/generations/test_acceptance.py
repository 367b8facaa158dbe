"""Accepting: everything at once, or nothing."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from domain.generations import acceptance, lifecycle
from domain.generations.errors import EngineUnknown, RequestInvalid
from domain.idempotency.errors import KeyBusy, KeyReused
from domain.subscriptions.errors import InsufficientCredits
from domain.templates.errors import InputInvalid, OutputInvalid, TemplateNotFound
from runtime import clock
from tests.integration.domain import ledger as ledgers


async def test_accepted_means_a_row_a_hold_and_a_fact_that_waits(ledger):
    accepted = await ledger.accept(project="p1", metadata={"order": 7})
    view = msgspec.json.decode(accepted.body)
    generation_id = view["id"]
    assert (view["status"], view["template"], view["project"], view["metadata"]) == (
        "queued",
        "badge",
        "p1",
        {"order": 7},
    )
    assert (view["credits"], view["assets"], view["error"], view["ended_at"]) == (None, [], None, None)
    assert await ledger.moves(generation_id) == [("hold", 1)]
    assert await ledger.facts(generation_id) == ["generation.accepted"]
    assert await ledger.value("select count(*) from pending_events where type = 'generation.accepted'") == 1
    assert (await ledger.available(), (await ledger.balance()).held) == (99, 1)


async def test_a_prompt_alone_becomes_a_card_of_its_words(ledger):
    wanted = msgspec.convert({"prompt": "Autumn sale"}, acceptance.Request)
    checked = acceptance.check(wanted)
    assert (checked.template, checked.input) == (acceptance.PROMPT_TEMPLATE, {"prompt": "Autumn sale"})
    await acceptance.accept(ledger.database, ledger.organization, checked, key=None, traceparent=None)


@pytest.mark.parametrize(
    ("request_", "refusal", "pointer"),
    [
        ({"engine": "oracle", "prompt": "x"}, EngineUnknown, "/engine"),
        ({}, RequestInvalid, "/template"),
        ({"prompt": "x", "template": "badge"}, RequestInvalid, "/prompt"),
        ({"prompt": "x", "input": {}}, RequestInvalid, "/prompt"),
        ({"template": "badge", "input": {}}, InputInvalid, "/input/label"),
        ({"template": "badge", "input": ledgers.BADGE, "output": {"quality": 3}}, OutputInvalid, "/output/quality"),
        ({"prompt": "x", "run_at": "2999-01-01T00:00:00Z"}, RequestInvalid, "/run_at"),
        ({"prompt": "x", "run_at": "2030-01-01T00:00:00"}, RequestInvalid, "/run_at"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(request_, refusal, pointer):
    with pytest.raises(refusal) as refused:
        acceptance.check(msgspec.convert(request_, acceptance.Request))
    assert [field.pointer for field in refused.value.fields] == [pointer]


def test_an_unknown_template_is_refused():
    with pytest.raises(TemplateNotFound):
        acceptance.check(acceptance.Request(template="nothing", input={}))


async def test_what_is_for_later_is_scheduled_and_what_is_due_is_not(ledger):
    later = clock.product() + timedelta(hours=1)
    body = (await ledger.accept(run_at=later)).body
    assert msgspec.json.decode(body)["status"] == "scheduled"
    assert msgspec.json.decode(body)["run_at"] == clock.rfc3339(later)
    past = (await ledger.accept(run_at=clock.product() - timedelta(hours=1))).body
    assert msgspec.json.decode(past)["status"] == "queued"


async def test_of_many_at_once_for_the_last_credit_one_is_accepted(make_organization, ledger):
    poor = await make_organization(grant=1)
    asked = await asyncio.gather(*(ledger.accept(of=poor.id) for _ in range(20)), return_exceptions=True)
    refused = [answer for answer in asked if isinstance(answer, InsufficientCredits)]
    assert (len(refused), len(asked)) == (19, 20)
    for table in ("generations", "events", "pending_events", "credit_entries"):
        kind = (
            "and kind = 'hold'"
            if table == "credit_entries"
            else ""
            if table == "generations"
            else "and type like 'gen%'"
        )
        count = f"select count(*) from {table} where organization_id = :id {kind}"
        assert await ledger.value(count, id=poor.id) == 1
    assert await ledger.value("select available from credit_accounts where organization_id = :id", id=poor.id) == 0


async def test_the_same_key_gives_the_same_bytes_and_charges_once(ledger):
    key = ledgers.key()
    first = await ledger.accept(key=key)
    again = await ledger.accept(key=key)
    assert (first.replayed, again.replayed) == (False, True)
    assert first.body == again.body
    assert await ledger.available() == 99


async def test_the_same_key_at_the_same_time_is_accepted_once(ledger):
    key = ledgers.key()
    answers = await asyncio.gather(*(ledger.accept(key=key) for _ in range(5)))
    assert len({answer.body for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False, True, True, True, True]
    assert await ledger.value("select count(*) from generations") == 1


async def test_the_same_key_for_another_request_is_refused(ledger):
    await ledger.accept(key=ledgers.key("k"))
    with pytest.raises(KeyReused):
        await ledger.accept(key=ledgers.key("k", b'{"other": 1}'))
    assert await ledger.available() == 99


async def test_a_refusal_gives_the_key_back(make_organization, ledger, system):
    poor = await make_organization(grant=0)
    with pytest.raises(InsufficientCredits):
        await ledger.accept(key=ledgers.key("k"), of=poor.id)
    async with system.system_transaction() as tx:
        await ledgers.credits.grant(tx, poor.id, 1)
    assert not (await ledger.accept(key=ledgers.key("k"), of=poor.id)).replayed


async def test_a_key_whose_first_request_does_not_end_is_busy(ledger, database):
    key = ledgers.key("k")
    async with database.transaction(ledger.organization) as tx:
        await tx.exec_driver_sql(
            "insert into idempotency_keys (organization_id, scope, key, fingerprint, status, body) "
            f"values ('{ledger.organization}', '{key.scope}', 'k', '', 0, '')"
        )
        with pytest.raises(KeyBusy) as refused:
            await ledger.accept(key=key)
    assert refused.value.retry_after == 1
    assert await ledger.available() == 100


async def test_a_key_of_another_organization_is_another_key(ledger, make_organization):
    other = await make_organization()
    await ledger.accept(key=ledgers.key("k"))
    assert not (await ledger.accept(key=ledgers.key("k", b"else"), of=other.id)).replayed


async def test_a_hold_remembers_its_price(ledger, monkeypatch):
    monkeypatch.setattr(acceptance, "PRICE", 3)
    dear = await ledger.generation()
    monkeypatch.setattr(acceptance, "PRICE", 1)
    assert await ledger.available() == 97
    async with ledger.database.transaction(ledger.organization) as tx:
        await lifecycle.cancel(tx, ledger.organization, dear, by="caller", traceparent=None)
    assert await ledger.moves(dear) == [("hold", 3), ("release", 3)]
    assert await ledger.available() == 100


async def test_a_fault_of_the_database_is_no_refusal(ledger):
    with pytest.raises(Exception, match="foreign key") as fault:
        await ledger.accept(of="org_of_nobody")
    assert not isinstance(fault.value, InsufficientCredits)

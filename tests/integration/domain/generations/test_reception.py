"""Many requests of one organization at once: together where they can be, alone where they must be, never twice."""

import asyncio
import hashlib
from collections import Counter

import msgspec
import pytest

from domain.generations import acceptance
from domain.generations.acceptance import Accepted, Request
from domain.generations.backpressure import Backpressure
from domain.generations.reception import TOGETHER, Reception
from domain.idempotency.errors import KeyReused
from domain.idempotency.keys import Key
from domain.subscriptions.errors import InsufficientCredits
from tests.integration.domain.ledger import Ledger


class Desk:
    """Asks as the API does."""

    def __init__(self, ledger: Ledger) -> None:
        self.reception = Reception(ledger.database, Backpressure())
        self.organization = ledger.organization

    async def ask(self, label: str, *, key: str | None = None, body: bytes = b"x", of: str = "") -> Accepted:
        checked = acceptance.check(Request(template="badge", input={"label": label}))
        wanted = (
            Key(scope="live POST /v1/generations", key=key, fingerprint=hashlib.sha256(body).digest()) if key else None
        )
        return await self.reception.accept(of or self.organization, checked, key=wanted, traceparent=None)


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    return Desk(ledger)


def _id(accepted: Accepted) -> str:
    return str(msgspec.json.decode(accepted.body)["id"])


def _together() -> float:
    return TOGETHER._value.get()


async def _counts(ledger: Ledger) -> dict[str, int]:
    tables = ("generations", "credit_entries where kind = 'hold'", "pending_events where type = 'generation.accepted'")
    names = ("generations", "holds", "pending")
    return {
        name: (await ledger.rows(f"select count(*) from {table}"))[0][0]
        for name, table in zip(names, tables, strict=True)
    }


async def test_requests_that_come_at_once_go_together_and_each_gets_its_own_generation(
    ledger: Ledger, desk: Desk
) -> None:
    before = _together()
    accepted = await asyncio.gather(*(desk.ask(str(number)) for number in range(40)))
    assert len({_id(each) for each in accepted}) == 40
    assert _together() - before >= 30
    assert await _counts(ledger) == {"generations": 40, "holds": 40, "pending": 40}
    assert (await ledger.balance()).available == 100 - 40
    stored = await ledger.rows("select id, request -> 'input' ->> 'label' as label from generations")
    asked = {_id(each): msgspec.json.decode(each.body)["input"]["label"] for each in accepted}
    assert {row.id: row.label for row in stored} == asked


async def test_callers_who_ask_again_and_again_keep_going_together(desk: Desk) -> None:
    async def ask_and_ask(lane: int) -> None:
        for number in range(6):
            await desk.ask(f"{lane}-{number}")

    before = _together()
    await asyncio.gather(*(ask_and_ask(lane) for lane in range(12)))
    assert _together() - before >= 60


async def test_one_key_asked_twice_at_once_is_one_generation_and_one_answer(ledger: Ledger, desk: Desk) -> None:
    accepted = await asyncio.gather(*(desk.ask(str(number % 20), key=f"k{number % 20}") for number in range(60)))
    assert set(Counter(each.body for each in accepted).values()) == {3}
    assert sum(not each.replayed for each in accepted) == 20
    assert await _counts(ledger) == {"generations": 20, "holds": 20, "pending": 20}


async def test_an_old_key_among_new_ones_is_replayed_and_a_misused_one_refused(ledger: Ledger, desk: Desk) -> None:
    first = await desk.ask("old", key="old")
    new, old, misused, *others = await asyncio.gather(
        desk.ask("new", key="new"),
        desk.ask("old", key="old"),
        desk.ask("other", key="old", body=b"another request"),
        *(desk.ask(str(number)) for number in range(5)),
        return_exceptions=True,
    )
    assert isinstance(new, Accepted)
    assert isinstance(old, Accepted)
    assert (old.body, old.replayed) == (first.body, True)
    assert isinstance(misused, KeyReused)
    assert all(isinstance(each, Accepted) for each in others)
    assert await _counts(ledger) == {"generations": 7, "holds": 7, "pending": 7}


async def test_when_credits_do_not_suffice_for_all_exactly_as_many_are_accepted_as_there_are_credits(
    ledger: Ledger, desk: Desk
) -> None:
    results = await asyncio.gather(
        *(desk.ask(str(number), key=f"k{number}") for number in range(130)), return_exceptions=True
    )
    assert Counter(type(result) for result in results) == {Accepted: 100, InsufficientCredits: 30}
    assert await _counts(ledger) == {"generations": 100, "holds": 100, "pending": 100}
    assert (await ledger.balance()).available == 0
    assert (await ledger.rows("select count(*) from idempotency_keys"))[0][0] == 100, "a refusal gives the key back"


async def test_a_caller_who_leaves_does_not_take_the_others_along(ledger: Ledger, desk: Desk) -> None:
    tasks = [asyncio.create_task(desk.ask(str(number))) for number in range(10)]
    await asyncio.sleep(0)
    tasks[4].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(result, Accepted) for result in results) == 9
    assert (await _counts(ledger))["generations"] in {9, 10}


async def test_nothing_is_kept_of_organizations_that_are_quiet(desk: Desk) -> None:
    await asyncio.gather(*(desk.ask(str(number)) for number in range(5)))
    assert desk.reception._batchers == {}

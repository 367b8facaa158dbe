"""Answers kept under keys, in the real database."""

import asyncio

import pytest
from sqlalchemy import text

from domain.idempotency import keys
from domain.idempotency.errors import KeyBusy, KeyReused
from domain.idempotency.keys import Answer
from runtime.encryption import Keyring

SCOPE = "live POST /v1/things"
ANSWER = Answer(201, b'{"secret": "whsec_abc"}')


@pytest.fixture
def keyring(settings):
    return Keyring.from_setting(settings.encryption_keys)


def key(name="k", body=b"{}"):
    return keys.read(name, SCOPE, body)


async def keep(database, organization, keyring):
    async with database.transaction(organization.id) as tx:
        assert await keys.begin(tx, organization.id, key(), keyring) is None
        await keys.finish(tx, organization.id, key(), ANSWER, keyring)


async def test_an_answer_is_found_again_and_kept_so_that_nobody_can_read_it(database, system, organization, keyring):
    await keep(database, organization, keyring)
    async with database.transaction(organization.id) as tx:
        assert await keys.begin(tx, organization.id, key(), keyring) == ANSWER
    async with system.system_transaction() as tx:
        assert b"whsec" not in await tx.scalar(text("select body from idempotency_keys"))


async def test_another_request_under_the_same_key_is_refused(database, organization, keyring):
    await keep(database, organization, keyring)
    async with database.transaction(organization.id) as tx:
        with pytest.raises(KeyReused):
            await keys.begin(tx, organization.id, key(body=b"[]"), keyring)


async def test_another_scope_and_another_organization_have_keys_of_their_own(
    database, organization, make_organization, keyring
):
    await keep(database, organization, keyring)
    other = await make_organization()
    await keep(database, other, keyring)
    async with database.transaction(organization.id) as tx:
        elsewhere = keys.read("k", "test POST /v1/things", b"{}")
        assert await keys.begin(tx, organization.id, elsewhere, keyring) is None


async def test_work_that_failed_gives_its_key_back(database, organization, keyring):
    with pytest.raises(RuntimeError):
        await _fail(database, organization, keyring)
    await keep(database, organization, keyring)


async def test_who_comes_second_waits_for_the_first_and_gets_its_answer(database, organization, keyring):
    async with database.transaction(organization.id) as tx:
        await keys.begin(tx, organization.id, key(), keyring)
        second = asyncio.create_task(_begin(database, organization, keyring))
        await asyncio.sleep(0.1)
        assert not second.done()
        await keys.finish(tx, organization.id, key(), ANSWER, keyring)
    assert await second == ANSWER


async def test_nobody_waits_for_more_than_two_seconds(database, organization, keyring):
    async with database.transaction(organization.id) as tx:
        await keys.begin(tx, organization.id, key(), keyring)
        with pytest.raises(KeyBusy) as refused:
            await asyncio.wait_for(_begin(database, organization, keyring), 10)
    assert refused.value.retry_after == 1


async def _begin(database, organization, keyring):
    async with database.transaction(organization.id) as tx:
        return await keys.begin(tx, organization.id, key(), keyring)


async def _fail(database, organization, keyring):
    async with database.transaction(organization.id) as tx:
        await keys.begin(tx, organization.id, key(), keyring)
        raise RuntimeError

"""One running installation for all tests that leave it standing."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.conftest import quickest_place
from tests.e2e import customer as customers
from tests.e2e.customer import Customer
from tests.e2e.running import Up

SECRETS = {
    "signing_keys": "a-planted-signing-key-that-no-log-may-show",
    "operator_token": "a-planted-operator-token-that-no-log-may-show",
}

LOST_AFTER = "2"
"""Seconds until a message is taken for lost, so that tests that lose some need not wait for long."""


@pytest.fixture(scope="session")
def up() -> Iterator[Up]:
    folder = Path(tempfile.mkdtemp(prefix="atelier-", dir=quickest_place()))
    started = Up(folder, dispatched_timeout=LOST_AFTER, **SECRETS)
    try:
        started.wait_until_ready()
        yield started
        assert started.stop() == 0, started.output
    finally:
        started.kill()
        shutil.rmtree(folder)


@pytest.fixture
async def customer(up: Up) -> AsyncIterator[Customer]:
    async with customers.of(up) as made:
        yield made

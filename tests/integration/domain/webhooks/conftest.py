"""Webhooks that may go to receivers on this machine."""

import pytest

from runtime.settings import Settings
from tests.integration.courier import courier, keyring, reaching_this_machine, receiver

__all__ = ["courier", "keyring", "receiver"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return reaching_this_machine(settings)

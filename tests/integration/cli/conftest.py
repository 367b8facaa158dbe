"""Commands as a person gives them, in this process."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
import pytest

from cli import installation, main
from runtime.database import Database, SystemDatabase
from runtime.settings import Settings
from tests.integration.conftest import Organization
from tests.integration.domain.ledger import Ledger


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str

    @property
    def json(self):
        return msgspec.json.decode(self.out)


Atelier = Callable[..., Awaitable[Answer]]


@pytest.fixture
def atelier(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Atelier:
    """`await atelier("dead-letters", "list")`, on the installation of this test."""
    for name, value in installation.to_environment(settings).items():
        monkeypatch.setenv(name, value)

    async def run(*arguments: str) -> Answer:
        capsys.readouterr()
        status = await asyncio.to_thread(main.main, arguments)
        return Answer(status, *capsys.readouterr())

    return run


@pytest.fixture
def ledger(database: Database, system: SystemDatabase, organization: Organization) -> Ledger:
    """Of an organization with a hundred credits."""
    return Ledger(database, system, organization.id)

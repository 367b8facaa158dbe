"""Organizations with credits and a key of their own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from domain.accounts import organizations
from domain.api_keys import keys, scopes
from domain.subscriptions import credits  # noqa: A004 - the name of the ledger, not of the interpreter
from runtime.database import Database, SystemDatabase


@dataclass(frozen=True)
class Organization:
    """`key` is an API key with every scope."""

    id: str
    key: str
    key_id: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


OrganizationFactory = Callable[..., Awaitable[Organization]]


@pytest.fixture
def make_organization(database: Database, system: SystemDatabase) -> OrganizationFactory:
    """`make_organization(plan="free", grant=100, wanted=scopes.ALL, notify_email=None)`."""

    async def make(
        *,
        name: str = "Acme",
        plan: str = "free",
        grant: int = 100,
        wanted: tuple[str, ...] = scopes.ALL,
        notify_email: str | None = None,
    ) -> Organization:
        async with system.system_transaction() as tx:
            organization = await organizations.create(tx, name, plan=plan, notify_email=notify_email)
            await credits.grant(tx, organization.id, grant)
        async with database.transaction(organization.id) as tx:
            new = await keys.create(tx, organization.id, name="tests", wanted=wanted)
        return Organization(organization.id, new.secret, new.key.id)

    return make


@pytest.fixture
async def organization(make_organization: OrganizationFactory) -> Organization:
    return await make_organization()

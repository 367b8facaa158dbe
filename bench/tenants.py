"""Organizations to measure and to torment: each with a key, credits and webhook endpoints."""

from collections.abc import Sequence
from typing import Protocol

import aiohttp
import msgspec

from domain.accounts import organizations
from domain.api_keys import keys, scopes
from domain.subscriptions import credits
from runtime.database import Database, SystemDatabase
from runtime.settings import Settings

PLAN = "scale"


class Reached(Protocol):
    @property
    def base_url(self) -> str: ...


class Running(Protocol):
    """An installation, however it was made."""

    @property
    def settings(self) -> Settings: ...

    @property
    def contract(self) -> Reached: ...


class Hook(msgspec.Struct, frozen=True):
    """An endpoint that each tenant gets: at `url`, with the tenant's number appended. No types: every event."""

    url: str
    event_types: tuple[str, ...] = ()


class Tenant(msgspec.Struct, frozen=True):
    """`secrets` are those of its endpoints, in the order of the hooks."""

    organization_id: str
    api_key: str
    secrets: tuple[str, ...]


async def make(
    running: Running,
    count: int,
    hooks: Sequence[Hook],
    *,
    credit: int,
    notify_email: str | None = None,
    plan: str = PLAN,
) -> list[Tenant]:
    """`credit` is what each may spend; `notify_email` None: no mails."""
    keys_by_organization = await _organizations(running.settings, count, credit, notify_email, plan)
    async with aiohttp.ClientSession(running.contract.base_url) as session:
        return [
            Tenant(organization, key, tuple([await _endpoint(session, key, hook, number) for hook in hooks]))
            for number, (organization, key) in enumerate(keys_by_organization.items())
        ]


async def _organizations(
    settings: Settings, count: int, credit: int, notify_email: str | None, plan: str
) -> dict[str, str]:
    """Each organization's id with its key."""
    database = Database(settings.database_url, size=1, name="atelier-bench")
    system = SystemDatabase(settings.database_system_url, size=1, name="atelier-bench")
    made = {}
    try:
        for number in range(count):
            async with system.system_transaction() as tx:
                name = f"Tenant {number}"
                organization = (await organizations.create(tx, name, plan=plan, notify_email=notify_email)).id
                await credits.grant(tx, organization, credit)
            async with database.transaction(organization) as tx:
                made[organization] = (await keys.create(tx, organization, name="bench", wanted=scopes.ALL)).secret
    finally:
        await database.close()
        await system.close()
    return made


async def _endpoint(session: aiohttp.ClientSession, key: str, hook: Hook, number: int) -> str:
    """Returns its secret."""
    body = {"url": f"{hook.url}/{number}", "event_types": hook.event_types}
    headers = {"Authorization": f"Bearer {key}"}
    async with session.post("/v1/webhook-endpoints", json=body, headers=headers, raise_for_status=True) as answer:
        return str((await answer.json())["secret"])

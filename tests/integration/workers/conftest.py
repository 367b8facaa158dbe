"""The spine with its clockwork in a test's hands: relay steps and messages happen when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import msgspec
import pytest
from sqlalchemy import text

from domain.generations import acceptance, batches, engines
from domain.generations.acceptance import Request
from domain.generations.engines import template as template_engine
from domain.notifications.channels.fake import FakeChannel
from domain.webhooks.lanes import SlowEndpoints
from queue_config import queues
from queue_config.stub_broker import StubBroker
from runtime import database as runtime_database
from runtime import outbound
from runtime.batching import Batcher
from runtime.database import Database, SystemDatabase
from runtime.encryption import Keyring
from runtime.settings import Settings
from storage import signing
from storage.addresses import ObjectUrls
from storage.factory import build_store
from tests.integration.conftest import Organization, OrganizationFactory
from workers import carrying_on, relay, tools
from workers.actor import ACTORS
from workers.describing import describer, many_describer
from workers.execution import Executor

BADGE = {"label": "A1"}


class Onward:
    """What is sent on at once, where there is `room`; none at first, so that a test's own steps send everything."""

    def __init__(self, room: int = 0, reaction: str = "") -> None:
        self.room = room
        self.sent: list[int] = []
        self.ahead: list[int] = []
        self.reaction = reaction or carrying_on.to_webhooks(StubBroker(queues.QUEUES)).reaction

    def send(self, tasks: Sequence[int], *, ahead: bool = False) -> None:
        self.sent += tasks
        self.ahead += tasks if ahead else []


@dataclass
class Spine:
    settings: Settings
    database: Database
    system: SystemDatabase
    tools: tools.Tools
    mail: FakeChannel
    connection: asyncpg.Connection
    organization: Organization
    executors: list[Executor] = field(default_factory=list)
    waiting: list[list[int]] = field(default_factory=list)

    @property
    def executor(self) -> Executor:
        return self.executors[0]

    def new_executor(self, lease: timedelta = timedelta(seconds=30)) -> Executor:
        made = Executor(self.database, self.system, self.tools, ACTORS, lease=lease)
        self.executors.append(made)
        return made

    async def accept(self, organization: Organization | None = None, **request: Any) -> str:
        """Id of a new generation: a small badge, unless the request says otherwise."""
        wanted = {"template": "badge", "input": BADGE} | request
        checked = acceptance.check(msgspec.convert(wanted, Request))
        where = (organization or self.organization).id
        accepted = await acceptance.accept(self.database, where, checked, key=None, traceparent=None)
        return str(msgspec.json.decode(accepted.body)["id"])

    async def step(self) -> relay.Step:
        """One step of a leading relay; its messages go nowhere."""
        row = await self.connection.fetchrow(relay.STEP, *relay.arguments(self.settings))
        return relay.read_step(row)

    async def dispatch(self, actor: str) -> list[int]:
        """A step, and the ids of the actor's tasks that it sent; other messages wait for `drain`."""
        messages = (await self.step()).messages
        self.waiting += [sending.tasks for sending in messages if sending.actor != actor]
        return [task for sending in messages if sending.actor == actor for task in sending.tasks]

    async def drain(self) -> None:
        """Steps, and everything they send is carried out, until nothing is left that is due."""
        for _ in range(20):
            step = await self.step()
            messages = [sending.tasks for sending in step.messages] + self.waiting
            self.waiting = []
            if not messages and not step.expanded and not step.moved:
                return
            await asyncio.gather(*(self.executor.run(ids) for ids in messages))
        raise AssertionError("the spine does not come to rest")

    async def rows(self, query: str, **parameters: Any) -> list[Any]:
        async with self.system.system_transaction() as tx:
            return list(await tx.execute(text(query), parameters))

    async def value(self, query: str, **parameters: Any) -> Any:
        return (await self.rows(query, **parameters))[0][0]

    async def status(self, generation_id: str) -> str:
        return str(await self.value("select status from generations where id = :id", id=generation_id))

    async def entries(self, generation_id: str) -> list[str]:
        """Kinds of the credit entries, oldest first."""
        query = "select kind from credit_entries where generation_id = :id order by created_at, id"
        return [row[0] for row in await self.rows(query, id=generation_id)]

    async def available(self) -> int:
        query = "select available from credit_accounts where organization_id = :id"
        return int(await self.value(query, id=self.organization.id))

    async def expire_leases(self) -> None:
        async with self.system.system_transaction() as tx:
            await tx.execute(text("update tasks set lease_until = now() - interval '1 s' where state = 'running'"))


@pytest.fixture
async def spine(
    settings: Settings, database: Database, system: SystemDatabase, make_organization: OrganizationFactory
) -> AsyncIterator[Spine]:
    engines.scratch(settings).mkdir(parents=True, exist_ok=True)
    renderers = template_engine.open_pool(size=1, scratch=settings.data_dir / "children")
    client = outbound.create(settings)
    mail = FakeChannel()
    secrets = signing.secrets(settings.signing_keys)
    urls = ObjectUrls(base="http://127.0.0.1/assets", secrets=secrets, ttl=timedelta(hours=1))
    made = tools.Tools(
        settings=settings,
        store=build_store(settings),
        outbound=client,
        renderers=renderers,
        keyring=Keyring.from_setting(settings.encryption_keys),
        mail=mail,
        describe=describer(urls),
        describe_many=many_describer(urls),
        find_image=Batcher(partial(batches.find, system), largest=8),
        carry_on=Onward(),
        slow_endpoints=SlowEndpoints(system),
        system=system,
        database=database,
    )
    connection = await runtime_database.connect(settings.database_system_url, name="test-relay")
    organization = await make_organization(notify_email="someone@customer.example")
    clockwork = Spine(settings, database, system, made, mail, connection, organization)
    clockwork.new_executor()
    yield clockwork
    await connection.close()
    await renderers.close()
    await client.close()

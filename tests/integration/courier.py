"""One organization, its webhook endpoints, and what carries deliveries to them: the relay's SQL and the worker's
executor. The fixtures here are imported by the conftest files of the folders that need them.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest
from sqlalchemy import text

from domain.events import log
from domain.events.base import Event
from domain.generations.events import GenerationCancelled
from domain.webhooks import endpoints
from domain.webhooks.endpoints import Draft, Unveiled
from domain.webhooks.lanes import SlowEndpoints
from runtime import outbound
from runtime.database import Database, Reader, SystemDatabase
from runtime.encryption import Keyring
from runtime.settings import Settings
from tests import http_server
from tests.integration.conftest import Organization
from workers import relay
from workers.app import actors_of
from workers.execution import Executor
from workers.tools import Tools

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass
class Answers:
    """A receiver that answers each request with the next of these, and with the last one ever after."""

    server: http_server.HttpServer
    answers: list[bytes]

    @property
    def url(self) -> str:
        return f"{self.server.url}/hook"

    @property
    def requests(self) -> list[http_server.Request]:
        return self.server.requests


@dataclass
class Courier:
    """Carries what happens in one organization to its endpoints, one step of the ledger at a time."""

    organization: str
    database: Database
    system: SystemDatabase
    settings: Settings
    client: outbound.Outbound
    keyring: Keyring
    described: list[Event] = field(default_factory=list)

    async def endpoint(self, url: str, **draft: Any) -> Unveiled:
        async with self.database.transaction(self.organization) as tx:
            return await endpoints.create(
                tx,
                self.organization,
                Draft(url=url, **draft),
                keyring=self.keyring,
                settings=self.settings,
            )

    async def happen(self, *events: Event) -> list[str]:
        facts = events or (GenerationCancelled(subject="gen_1", by="caller"),)
        async with self.database.transaction(self.organization) as tx:
            cause = log.Cause("gen_1", traceparent=TRACEPARENT)
            return await log.append(tx, self.organization, *facts, cause=cause)

    async def carry(self) -> int:
        """Events become tasks, and all that are due are tried; how many were."""
        step = await self.step()
        while step.moved and not step.messages:
            step = await self.step()
        executor = self.executor()
        for sending in step.messages:
            await executor.run(sending.tasks)
        return sum(len(sending.tasks) for sending in step.messages)

    async def step(self) -> relay.Step:
        row = await self.system.call(relay.STEP, *relay.arguments(self.settings))
        return msgspec.convert(dict(row or {}), relay.Step)

    def executor(self) -> Executor:
        """With the actors of the worker that sends webhooks and mails."""
        return Executor(self.database, self.system, self._tools(), actors_of("io"), lease=timedelta(seconds=10))

    async def deliver(self) -> None:
        """Until nothing is due any more, reactions to what was recorded included."""
        while await self.carry():
            pass

    async def wait(self) -> timedelta:
        """Makes the task that is ready next due now, and says how far ahead it was."""
        ahead = await self.value(
            "with next as (select id, run_at from tasks where state = 'ready' order by run_at limit 1) "
            "update tasks t set run_at = now() from next where t.id = next.id returning next.run_at - now()"
        )
        return cast("timedelta", ahead)

    async def rows(self, query: str, **values: object) -> list[dict[str, Any]]:
        async with self.system.system_transaction() as tx:
            return [dict(row._mapping) for row in await tx.execute(text(query), values)]

    async def value(self, query: str, **values: object) -> Any:
        """The first column of the one row."""
        [row] = await self.rows(query, **values)
        return next(iter(row.values()))

    async def delivery(self) -> dict[str, Any]:
        [row] = await self.rows("select * from deliveries")
        return row

    async def attempts(self) -> list[dict[str, Any]]:
        return await self.rows("select * from delivery_attempts order by id")

    async def describe(self, tx: Reader, event: Event) -> dict[str, Any]:
        """Says something else each time, so that a body built anew would be another body."""
        self.described.append(event)
        return {"id": event.subject, "told": len(self.described), "text": "…é "}

    async def describe_many(self, _: SystemDatabase, told: Sequence[tuple[str, Event]]) -> list[dict[str, Any]]:
        return [await self.describe(cast("Reader", None), event) for _, event in told]

    def _tools(self) -> Tools:
        unused = cast("Any", None)
        return Tools(
            settings=self.settings,
            store=unused,
            outbound=self.client,
            renderers=unused,
            keyring=self.keyring,
            mail=unused,
            describe=self.describe,
            describe_many=self.describe_many,
            find_image=unused,
            carry_on=cast("Any", object()),
            slow_endpoints=SlowEndpoints(self.system),
            system=self.system,
        )


def reaching_this_machine(settings: Settings) -> Settings:
    """For a receiver on loopback. The installation has ports of its own: port 0 of its host would be the whole host."""
    own = {"port": 8000, "operator_port": 8001, "public_url": "http://127.0.0.1:8000"}
    return msgspec.structs.replace(settings, **own, webhook_insecure_http=True, outbound_allow="127.0.0.0/8")


@pytest.fixture
def keyring(settings: Settings) -> Keyring:
    return Keyring.from_setting(settings.encryption_keys)


@pytest.fixture
async def courier(
    organization: Organization, database: Database, system: SystemDatabase, settings: Settings, keyring: Keyring
) -> AsyncIterator[Courier]:
    async with outbound.create(settings) as client:
        yield Courier(organization.id, database, system, settings, client, keyring)


@pytest.fixture
async def receiver() -> AsyncIterator[Answers]:
    """Answers 204 unless a test gives it other `answers`."""
    answers = [http_server.NO_CONTENT]

    async def answer(request: http_server.Request, reader: Any, writer: Any) -> None:
        writer.write(answers.pop(0) if len(answers) > 1 else answers[0])
        await writer.drain()

    async with http_server.serve(answer) as server:
        yield Answers(server, answers)

"""The ledger without a relay and without workers: tests turn events into tasks, claim and record by themselves."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import text

from domain.generations import acceptance, lifecycle
from domain.generations.acceptance import Accepted, Request
from domain.generations.results import Image
from domain.idempotency.keys import Key
from domain.subscriptions import credits
from domain.subscriptions.credits import Balance
from domain.tasks import claims
from domain.tasks.outcomes import Task
from runtime import ids
from runtime.database import Database, SystemDatabase

BADGE = {"label": "A1"}
LEASE = timedelta(seconds=30)
REACTIONS = {
    "generation.accepted": (lifecycle.RENDER,),
    "generation.retried": (lifecycle.RENDER,),
    "generation.cancelled": ("generations.withdraw",),
    "task.died": ("generations.abandon",),
}

_EXPAND = text("select * from expand_events(:types, cast(:reactions as jsonb), 100)")


def image(**values: Any) -> Image:
    """As an engine would have made and stored it."""
    whole: dict[str, Any] = {
        "identity": "1" * 64,
        "storage_key": f"o/org/{'2' * 64}.png",
        "sha256": "2" * 64,
        "format": "png",
        "width": 256,
        "height": 256,
        "bytes": 1000,
    }
    return Image(**whole | values)


@dataclass
class Ledger:
    """`organization` is the id of the one that most tests need."""

    database: Database
    system: SystemDatabase
    organization: str

    async def accept(self, *, key: Key | None = None, of: str = "", **request: Any) -> Accepted:
        """A small badge, unless the request says otherwise."""
        wanted = msgspec.convert({"template": "badge", "input": BADGE} | request, Request)
        checked = acceptance.check(wanted)
        return await acceptance.accept(self.database, of or self.organization, checked, key=key, traceparent=None)

    async def generation(self, **request: Any) -> str:
        """Id of a new one."""
        return str(msgspec.json.decode((await self.accept(**request)).body)["id"])

    async def expand(self) -> None:
        """Events become tasks."""
        reactions = [
            {"event": event, "actor": actor, "queue": "tests", "priority": 0, "scheduled": False}
            for event, actors in REACTIONS.items()
            for actor in actors
        ]
        types = [row[0] for row in await self.rows("select distinct type from pending_events")]
        async with self.system.system_transaction() as tx:
            await tx.execute(_EXPAND, {"types": types, "reactions": msgspec.json.encode(reactions).decode()})

    async def claim(self, actor: str = lifecycle.RENDER, *, subject: str = "", lease: timedelta = LEASE) -> list[Task]:
        """The tasks of the actor that can be had, of all events so far or of those about one thing."""
        await self.expand()
        query = "select id from tasks where actor = :actor and (:subject = '' or subject = :subject)"
        there = [row.id for row in await self.rows(query, actor=actor, subject=subject)]
        return await claims.claim(self.system, there, actors=[actor], owner="a test", lease=lease)

    async def running(self, **request: Any) -> Task:
        """The render task of a new generation, started."""
        generation_id = await self.generation(**request)
        return await self.started(generation_id)

    async def started(self, generation_id: str) -> Task:
        (task,) = await self.claim(subject=generation_id)
        async with self.database.transaction(task.organization_id) as tx:
            assert await lifecycle.start(tx, task) is not None
        return task

    async def die(self, task: Task) -> None:
        """The task uses up its attempts, and its generation is ended."""
        async with self.database.transaction(task.organization_id) as tx:
            assert await claims.bury(tx, task, reason="tests")
        for reaction in await self.claim("generations.abandon"):
            async with self.database.transaction(reaction.organization_id) as tx:
                assert await claims.finish(tx, reaction)
                await lifecycle.abandon(tx, reaction)

    async def rows(self, query: str, **parameters: Any) -> list[Any]:
        async with self.system.system_transaction() as tx:
            return list(await tx.execute(text(query), parameters))

    async def value(self, query: str, **parameters: Any) -> Any:
        return (await self.rows(query, **parameters))[0][0]

    async def status(self, generation_id: str) -> str:
        return str(await self.value("select status from generations where id = :id", id=generation_id))

    async def moves(self, generation_id: str) -> list[tuple[str, int]]:
        """Kind and amount of the credit entries, in the order in which they were written."""
        query = "select kind, amount from credit_entries where generation_id = :id order by ctid"
        return [(row.kind, row.amount) for row in await self.rows(query, id=generation_id)]

    async def facts(self, subject: str) -> list[str]:
        """Types of the events about a thing, in their order."""
        query = "select type from events where subject = :subject order by id"
        return [row.type for row in await self.rows(query, subject=subject)]

    async def balance(self) -> Balance:
        async with self.database.read_only(self.organization) as tx:
            return await credits.balance(tx)

    async def by_entries(self) -> Balance:
        """What `balance` has to say, summed up from every entry."""
        query = """
            select coalesce(sum(amount) filter (where to_account = name), 0)
                - coalesce(sum(amount) filter (where from_account = name), 0)
            from unnest(array['available', 'held', 'spent', 'granted']) with ordinality as accounts (name, place)
            left join credit_entries on organization_id = :id and name in (to_account, from_account)
            group by name, place order by place"""
        sums = [int(row[0]) for row in await self.rows(query, id=self.organization)]
        return Balance(available=sums[0], held=sums[1], spent=sums[2], granted=-sums[3])

    async def available(self) -> int:
        """By the account, which is what is held against."""
        query = "select available from credit_accounts where organization_id = :id"
        return int(await self.value(query, id=self.organization))


def key(name: str = "", body: bytes = b"{}") -> Key:
    return Key("live POST /v1/generations", name or ids.new("k"), body)

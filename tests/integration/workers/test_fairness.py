"""Who is served when there is more work than workers: by plan, and nobody waits for another's backlog."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import msgspec
import pytest
from sqlalchemy import text

from domain.generations.lifecycle import RENDER
from tests.integration.workers.conftest import Spine
from workers import relay

FILL = """
    insert into tasks (organization_id, event_id, actor, subject, queue, run_at)
    select :organization, new_id('evt'), 'generations.render', 'gen_' || n, 'images',
        now() - make_interval(secs => :age)
    from generate_series(1, :tasks) n
"""
SERVE = """
    with oldest as (
        select id from tasks where state = 'dispatched' order by dispatched_at, id limit :many
    )
    update tasks t set state = 'done', ended_at = now() from oldest o where t.id = o.id returning t.organization_id
"""


@dataclass
class Workers:
    """As many as `at_once` tasks are done between two steps of the relay; nobody renders anything."""

    spine: Spine
    window: int = 16
    at_once: int = 4
    served: Counter[str] = field(default_factory=Counter)

    async def organizations(self, *plans: str) -> list[str]:
        """Ids; organizations that nobody ever calls for."""
        ids = [f"org_{number:03}" for number in range(len(plans))]
        await self.execute(
            "insert into organizations (organization_id, name, plan) select * from unnest(cast(:ids as text[]), "
            "cast(:ids as text[]), cast(:plans as text[]))",
            ids=ids, plans=list(plans),
        )  # fmt: skip
        return ids

    async def ask(self, organization: str, tasks: int, *, age: float = 0) -> None:
        await self.execute(FILL, organization=organization, tasks=tasks, age=float(age))

    async def step(self) -> list[int]:
        return [task for sending in await self.send() for task in sending.tasks]

    async def send(self) -> list[relay.Sending]:
        images = msgspec.json.encode([{"queue": "images", "size": self.window, "capped": True}]).decode()
        given = relay.arguments(self.spine.settings)._replace(actors=[RENDER], queues=images)
        row = await self.spine.connection.fetchrow(relay.STEP, *given)
        return relay.read_step(row).messages

    async def serve(self, rounds: int) -> Counter[str]:
        """Who was served in these rounds."""
        before = self.served.copy()
        for _ in range(rounds):
            await self.step()
            done = await self.execute(SERVE, many=self.at_once)
            self.served.update(row[0] for row in done)
        return self.served - before

    async def execute(self, query: str, **values: Any) -> Sequence[Any]:
        async with self.spine.system.system_transaction() as tx:
            result = await tx.execute(text(query), values)
            return list(result) if result.returns_rows else []


@pytest.fixture
def workers(spine: Spine) -> Workers:
    return Workers(spine)


async def test_with_thirty_organizations_and_a_skew_of_one_to_thirty_everyone_gets_his_share(workers: Workers) -> None:
    ids = await workers.organizations(*["free"] * 30)
    for heaviness, organization in enumerate(ids, 1):
        await workers.ask(organization, 40 * heaviness, age=60 * heaviness)
    served = await workers.serve(rounds=240)
    total = sum(served.values())
    assert total == 240 * workers.at_once
    assert min(served[organization] for organization in ids) / (total / 30) >= 0.95


async def test_shares_are_those_of_the_plans(workers: Workers) -> None:
    free, pro, scale = ids = await workers.organizations("free", "pro", "scale")
    for organization in ids:
        await workers.ask(organization, 2_000)
    served = await workers.serve(rounds=150)
    unit = sum(served.values()) / 15
    assert [round(served[organization] / unit, 1) for organization in (free, pro, scale)] == [1, 4, 10]


@pytest.mark.parametrize("at_once", [1, 4, 8, 64])
async def test_a_heavy_plan_among_many_light_ones_gets_its_share_however_many_go_at_once(
    workers: Workers, at_once: int
) -> None:
    ids = await workers.organizations("scale", *["free"] * 10)
    workers.window = workers.at_once = at_once
    for organization in ids:
        await workers.ask(organization, 400)
    served = await workers.serve(rounds=max(5, 400 // at_once))
    shares = [served[organization] / sum(served.values()) for organization in ids]
    assert shares[0] >= 0.95 * 10 / 20
    assert min(shares[1:]) >= 0.95 * 1 / 20


async def test_a_light_organization_is_served_at_once_beside_ten_thousand_tasks_of_another(workers: Workers) -> None:
    heavy, light = await workers.organizations("scale", "free")
    await workers.ask(heavy, 10_000, age=3_600)
    await workers.serve(rounds=50)
    await workers.ask(light, 1)
    served = await workers.serve(rounds=1 + workers.window // workers.at_once)
    assert served[light] == 1, "nothing goes before it but what had been sent to the workers already"


async def test_only_who_comes_back_from_a_pause_goes_ahead_of_what_was_sent(workers: Workers) -> None:
    heavy, light = await workers.organizations("pro", "pro")
    await workers.ask(heavy, 500)
    await workers.serve(rounds=20)
    for _ in range(3):
        await workers.ask(light, 1)
        await workers.execute(SERVE, many=workers.at_once)
        sent = await workers.send()
        ahead = [task for sending in sent for task in sending.ahead]
        rows = await workers.execute("select organization_id from tasks where id = any(:ids)", ids=ahead)
        assert [row[0] for row in rows] == [light]
        assert len([task for sending in sent for task in sending.tasks]) > len(ahead), "the other one goes on in turn"


async def test_who_paused_has_saved_no_turns(workers: Workers) -> None:
    steady, pausing = ids = await workers.organizations("free", "free")
    for organization in ids:
        await workers.ask(organization, 40)
    await workers.serve(rounds=20)
    await workers.ask(steady, 1_000)
    await workers.serve(rounds=100)
    await workers.ask(pausing, 1_000)
    served = await workers.serve(rounds=50)
    assert abs(served[steady] - served[pausing]) <= workers.window + 2


async def test_no_organization_has_more_images_at_once_than_its_plan_gives(workers: Workers) -> None:
    [free] = await workers.organizations("free")
    workers.window = 400
    await workers.ask(free, 100)
    first = await workers.step()
    assert len(first) == 32
    await workers.execute(
        "update tasks set state = 'running', lease_until = now() + interval '1 hour' where id = any(:ids)", ids=first
    )
    assert await workers.step() == []
    await workers.execute("update tasks set state = 'done' where id = any(:ids)", ids=first[:5])
    assert len(await workers.step()) == 5


async def test_what_is_not_due_takes_no_share_and_is_not_read(workers: Workers) -> None:
    busy, *later = await workers.organizations("free", *["scale"] * 20)
    for organization in later:
        await workers.ask(organization, 500, age=-3_600)
    await workers.ask(busy, 500)
    await workers.execute("analyze tasks")
    assert len(await workers.step()) == workers.window
    assert await _buffers(workers.spine.connection, workers.window) < 1_000


async def _buffers(connection: asyncpg.Connection, window: int) -> int:
    """Pages that one dispatch looks at."""
    call = f"select * from dispatch_queue('images', array['{RENDER}'], {window}, true, null)"
    [plan] = msgspec.json.decode(await connection.fetchval(f"explain (analyze, buffers, format json) {call}"))
    return int(plan["Plan"]["Shared Hit Blocks"])

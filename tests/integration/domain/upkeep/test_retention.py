"""What is old goes, in batches; what is young, or still spoken of, stays."""

from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest

from domain.events import feed
from domain.events.errors import PositionExpired
from domain.upkeep import retention
from runtime import clock, ids
from runtime.database import ReadOnly
from runtime.settings import Settings
from tests.integration.domain.ledger import Ledger, key

OLD = timedelta(days=120)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "REST_SECONDS", 0)
    monkeypatch.setattr(retention, "BATCH", 3)


def old_id(prefix: str, number: int) -> str:
    return ids.earliest(prefix, clock.machine() - OLD + timedelta(seconds=number))


async def write(ledger: Ledger, table: str, **values: Any) -> None:
    columns, names = ", ".join(values), ", ".join(f":{name}" for name in values)
    await ledger.rows(f"insert into {table} ({columns}) values ({names}) returning 1", **values)


async def event(
    ledger: Ledger,
    number: int,
    *,
    age: timedelta = OLD,
    type: str = "generation.cancelled",  # noqa: A002 - its column
) -> str:
    """With its place in the feed."""
    event_id = ids.earliest("evt", clock.machine() - age + timedelta(seconds=number))
    common = {"organization_id": ledger.organization, "type": type, "subject": "gen_1"}
    told = {"id": event_id, "version": 1, "correlation_id": "gen_1", "occurred_at": clock.machine() - age}
    await ledger.rows(
        "insert into events (organization_id, type, subject, id, version, correlation_id, occurred_at, data) "
        "values (:organization_id, :type, :subject, :id, :version, :correlation_id, :occurred_at, '{}') returning 1",
        **common,
        **told,
    )
    position = await ledger.value("select nextval('feed_position')")
    await write(ledger, "feed", position=position, event_id=event_id, **common)
    return event_id


async def place(ledger: Ledger, event_id: str) -> int:
    return int(await ledger.value("select position from feed where event_id = :id", id=event_id))


async def delivery(ledger: Ledger, number: int, *, status: str = "delivered", event_id: str = "") -> str:
    delivery_id = old_id("dlv", number)
    await write(
        ledger, "deliveries", organization_id=ledger.organization, id=delivery_id, endpoint_id="whe_1",
        event_id=event_id or old_id("evt", 10_000 + number), event_type="generation.cancelled", status=status,
    )  # fmt: skip
    await write(
        ledger, "delivery_attempts", organization_id=ledger.organization, id=old_id("att", number),
        delivery_id=delivery_id, started_at=clock.machine() - OLD, duration_ms=5,
    )  # fmt: skip
    return delivery_id


@pytest.fixture
async def endpoint(ledger: Ledger) -> None:
    await write(
        ledger, "webhook_endpoints", organization_id=ledger.organization, id="whe_1", url="https://x.example/",
        event_types=[], secret=b"x",
    )  # fmt: skip


async def left(ledger: Ledger, table: str, column: str = "id") -> list[str]:
    return [row[0] for row in await ledger.rows(f"select {column} from {table} order by {column}")]


async def test_ended_tasks_and_old_answers_are_swept_in_batches(ledger: Ledger, settings: Settings) -> None:
    for number in range(8):
        await ledger.accept(key=key(f"key-{number}"))
    await ledger.expand()
    await ledger.rows(
        "update tasks set state = 'done', ended_at = now() - interval '8 days' "
        "where id <> (select min(id) from tasks) returning id"
    )
    await ledger.rows(
        "update idempotency_keys set created_at = now() - interval '4 days' where key <> 'key-3' returning key"
    )
    await retention.sweep("sweep@now", system=ledger.system, settings=settings)
    assert await ledger.value("select count(*) from tasks") == 1
    assert await left(ledger, "idempotency_keys", "key") == ["key-3"]


@pytest.mark.usefixtures("endpoint")
async def test_old_deliveries_go_with_their_attempts_and_pending_ones_stay(ledger: Ledger, settings: Settings) -> None:
    for number in range(7):
        await delivery(ledger, number, status="failed" if number % 2 else "delivered")
    waiting = await delivery(ledger, 8, status="pending")
    as_long = msgspec.structs.replace(settings, attempt_retention_days=0)
    await retention.prune("retention@now", system=ledger.system, settings=as_long)
    assert await left(ledger, "deliveries") == [waiting]
    assert await left(ledger, "delivery_attempts", "delivery_id") == [waiting]


@pytest.mark.usefixtures("endpoint")
async def test_attempts_may_go_before_their_deliveries(ledger: Ledger, settings: Settings) -> None:
    kept = [await delivery(ledger, number) for number in range(5)]
    longer = msgspec.structs.replace(settings, delivery_retention_days=365)
    await retention.prune("retention@now", system=ledger.system, settings=longer)
    assert await left(ledger, "deliveries") == kept
    assert await left(ledger, "delivery_attempts") == []


async def test_old_mails_go(ledger: Ledger, settings: Settings) -> None:
    for number in range(5):
        young = number == 4
        await write(
            ledger, "notifications", organization_id=ledger.organization, event_id=f"evt_{number}", kind="image_ready",
            id=ids.new("ntf") if young else old_id("ntf", number), channel="email", recipient="x", subject="gen_1",
            status="sent",
        )  # fmt: skip
    await retention.prune("retention@now", system=ledger.system, settings=settings)
    assert await left(ledger, "notifications", "event_id") == ["evt_4"]


@pytest.mark.usefixtures("endpoint")
async def test_an_old_event_goes_with_its_place_in_the_feed_unless_something_speaks_of_it(
    ledger: Ledger, settings: Settings
) -> None:
    for number in range(10):
        await event(ledger, number)
    waited_for, told = await event(ledger, 20), await event(ledger, 21)
    await write(
        ledger, "tasks", organization_id=ledger.organization, event_id=waited_for, actor="generations.render",
        subject="gen_1", queue="images", state="ready",
    )  # fmt: skip
    await delivery(ledger, 1, event_id=told, status="pending")
    young = [await event(ledger, number, age=timedelta(days=1)) for number in range(2)]
    await retention.prune("retention@now", system=ledger.system, settings=settings)
    assert await left(ledger, "events where type = 'generation.cancelled'") == [waited_for, told, *young]
    assert await left(ledger, "feed", "event_id") == [waited_for, told, *young]
    gone = await ledger.value("select max(position) from feed where event_id = :id", id=waited_for) - 1
    assert await ledger.value("select position from feed_horizons") == gone


async def test_a_reader_that_was_told_the_last_public_event_missed_nothing(ledger: Ledger, settings: Settings) -> None:
    before, position = [await place(ledger, await event(ledger, number)) for number in (0, 1)]
    for number, private in enumerate(("file.uploaded", "api_key.created", "webhook_endpoint.changed"), 2):
        await event(ledger, number, type=private)
    await retention.prune("retention@now", system=ledger.system, settings=settings)
    assert await left(ledger, "feed", "event_id") == []
    assert await ledger.value("select position from feed_horizons") == position
    async with ledger.database.read_only(ledger.organization) as tx:
        await feed.check_kept(tx, position)
        with pytest.raises(PositionExpired):
            await feed.check_kept(tx, before)


async def test_a_reader_under_whom_everything_is_deleted_goes_on(ledger: Ledger, settings: Settings) -> None:
    places = [await place(ledger, await event(ledger, number)) for number in range(4)]
    async with ledger.database.read_only(ledger.organization) as tx:

        class Reading:
            """All is deleted after its first statement."""

            async def execute(self, statement: Any) -> Any:
                found = await tx.execute(statement)
                await retention.prune("retention@now", system=ledger.system, settings=settings)
                return found

        found = await feed.stretch(cast("ReadOnly", Reading()), 0, limit=2, types=["generation.cancelled"])
        assert found == feed.Stretch([], places[1], more=True)
        rest = await feed.stretch(tx, found.position, limit=2, types=["generation.cancelled"])
        assert rest == feed.Stretch([], places[1], more=False)


async def test_nought_days_are_for_ever(ledger: Ledger, settings: Settings) -> None:
    kept = await event(ledger, 1)
    for_ever = msgspec.structs.replace(settings, event_retention_days=0, delivery_retention_days=0)
    await retention.prune("retention@now", system=ledger.system, settings=for_ever)
    assert await left(ledger, "events where type = 'generation.cancelled'") == [kept]


async def test_of_old_ticks_the_last_one_is_remembered(ledger: Ledger, settings: Settings) -> None:
    for day in (1, 2, 3):
        tick = clock.machine() - timedelta(days=100 - day)
        await write(ledger, "schedule_ticks", schedule="retention", tick=tick, next_tick=tick, noted_at=tick)
    await retention.prune("retention@now", system=ledger.system, settings=settings)
    [tick] = await left(ledger, "schedule_ticks", "tick")
    assert tick == await ledger.value("select max(tick) from schedule_ticks")


async def test_bulk_operations_that_ended_long_ago_go_with_their_decisions(ledger: Ledger, settings: Settings) -> None:
    now = clock.machine()
    for operation_id, ended_at in (("blk_1", now - OLD), ("blk_2", now), ("blk_3", None)):
        await write(
            ledger, "bulk_operations", organization_id="org_system", id=operation_id, action="replay", filter="{}",
            rate=1, by="operator", matched=4, ended_at=ended_at,
        )  # fmt: skip
        for number in range(4):
            decision = {"organization_id": ledger.organization, "operation_id": operation_id, "task_id": number}
            await write(ledger, "bulk_decisions", **decision, outcome="replayed")
    await retention.prune("retention@now", system=ledger.system, settings=settings)
    assert sorted(await left(ledger, "bulk_operations", "id")) == ["blk_2", "blk_3"]
    assert sorted(set(await left(ledger, "bulk_decisions", "operation_id"))) == ["blk_2", "blk_3"]

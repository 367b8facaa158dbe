"""Schedules: each tick once, whoever notices it; what was missed is made up for as its line says."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.upkeep import ticks
from domain.upkeep.events import RetentionDue, SweepDue
from domain.upkeep.ticks import Tick
from runtime import database
from tests.integration.workers.conftest import Spine
from tests.integration.workers.relays import Recording, relay_process, running, until
from workers import schedule
from workers.schedule import SCHEDULES, Missed, Schedule

NIGHT = datetime(2026, 11, 20, 3, 30, tzinfo=UTC)


def nightly(missed: Missed = "last", **changed: Any) -> Schedule:
    return Schedule(event=RetentionDue, cron="30 3 * * *", missed=missed, **changed)


async def note(spine: Spine, line: Schedule, now: datetime) -> int:
    """How many events were appended."""
    return len(await schedule.note_due(spine.connection, [line], now))


async def appended(spine: Spine) -> list[str]:
    rows = await spine.rows("select data ->> 'tick' from events where type = 'retention.came_due' order by 1")
    return [row[0] for row in rows]


async def test_however_many_notice_a_tick_its_event_is_appended_once(spine: Spine) -> None:
    await note(spine, nightly(), NIGHT - timedelta(hours=1))
    connections = [await database.connect(spine.settings.database_system_url, name="test") for _ in range(5)]
    found = await asyncio.gather(*(schedule.note_due(each, [nightly()], NIGHT) for each in connections))
    for each in connections:
        await each.close()
    assert sorted(map(len, found)) == [0, 0, 0, 0, 1]
    assert await note(spine, nightly(), NIGHT + timedelta(hours=1)) == 0
    [event] = await spine.rows("select organization_id, subject, data from events where type = 'retention.came_due'")
    assert tuple(event) == ("org_system", "retention@20261120T0330Z", {"tick": "2026-11-20T03:30:00.000Z"})
    assert await spine.value("select count(*) from pending_events where type = 'retention.came_due'") == 1


async def test_a_schedule_that_is_new_begins_with_its_next_tick(spine: Spine) -> None:
    assert await note(spine, nightly(), NIGHT + timedelta(hours=5)) == 0
    assert await note(spine, nightly(), NIGHT + timedelta(hours=23)) == 0
    assert await note(spine, nightly(), NIGHT + timedelta(hours=24)) == 1


@pytest.mark.parametrize(
    ("missed", "made_up_for"),
    [
        ("each", ["2026-11-21", "2026-11-22", "2026-11-23"]),
        ("last", ["2026-11-23"]),
        ("none", []),
    ],
)
async def test_what_was_missed_is_made_up_for_as_the_line_says(
    spine: Spine, missed: Missed, made_up_for: list[str]
) -> None:
    await note(spine, nightly(missed), NIGHT)
    assert await note(spine, nightly(missed), NIGHT + timedelta(days=3, hours=2)) == len(made_up_for)
    assert [tick[:10] for tick in await appended(spine)] == made_up_for
    assert await note(spine, nightly(missed), NIGHT + timedelta(days=3, hours=3)) == 0
    assert await note(spine, nightly(missed), NIGHT + timedelta(days=4, seconds=30)) == 1, "this one was not missed"


async def test_a_long_absence_is_made_up_for_in_several_looks(spine: Spine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "MOST_AT_ONCE", 4)
    await note(spine, nightly("each"), NIGHT)
    looks = [await note(spine, nightly("each"), NIGHT + timedelta(days=10)) for _ in range(4)]
    assert looks == [4, 4, 2, 0]


async def test_a_line_goes_by_the_clock_that_it_names(spine: Spine) -> None:
    by_product, by_machine = nightly(clock="product"), Schedule(event=SweepDue, cron="30 3 * * *", missed="last")
    await schedule.note_due(spine.connection, [by_product, by_machine], NIGHT - timedelta(hours=1))
    await spine.rows("update product_clock set offset_seconds = 3600 returning 1")
    assert await schedule.note_due(spine.connection, [by_product, by_machine], NIGHT - timedelta(minutes=1)) == [
        "retention"
    ]


async def test_the_relay_that_leads_notes_what_is_due_and_workers_do_it(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "LOOK_SECONDS", 0.05)
    spine.settings = msgspec.structs.replace(spine.settings, relay_sweep=0.05)
    line = Schedule(event=SweepDue, cron="0 0 1 1 *", missed="last")
    await passed_over(spine, line.name, datetime.now(UTC) - timedelta(days=400))
    await spine.accept()
    await spine.drain()
    await spine.rows("update tasks set ended_at = now() - interval '30 days' returning id")
    brokers = Recording(), Recording()
    async with running(spine, brokers[0], schedules=[line]), running(spine, brokers[1], schedules=[line]):
        await until(lambda: _is(len(brokers[0].sent + brokers[1].sent) == 1))
        await asyncio.sleep(0.3)
    [task_id] = brokers[0].sent + brokers[1].sent
    await spine.executor.run([task_id])
    assert await spine.rows("select actor, state from tasks") == [("upkeep.sweep", "done")]


async def test_every_line_of_the_table_can_be_noted_and_is_called_like_no_other(spine: Spine) -> None:
    names = [line.name for line in SCHEDULES]
    assert sorted(set(names)) == sorted(names)
    await schedule.note_due(spine.connection, SCHEDULES, NIGHT)
    noted = await schedule.note_due(spine.connection, SCHEDULES, NIGHT + timedelta(days=1, minutes=47))
    assert set(noted) == set(names)
    await spine.drain()
    states = await spine.rows("select actor, state from tasks order by actor")
    done = ("upkeep.check_storage", "upkeep.collect", "upkeep.prune", "upkeep.sweep")
    assert states == [(actor, "done") for actor in done]


async def test_a_clock_that_was_wrong_for_a_while_neither_stops_a_schedule_nor_repeats_a_tick(spine: Spine) -> None:
    for missed in ("each", "last", "none"):
        await spine.rows("delete from schedule_ticks returning 1")
        line = nightly(missed)  # type: ignore[arg-type]
        await note(spine, line, NIGHT)
        await note(spine, line, NIGHT + timedelta(days=2, seconds=1))
        ahead = len(await appended(spine))
        assert await note(spine, line, NIGHT + timedelta(hours=1)) == 0, "set back: it has had this tick"
        assert await note(spine, line, NIGHT + timedelta(days=2, hours=1)) == 0
        assert await note(spine, line, NIGHT + timedelta(days=3)) == 1, "it goes on"
        assert len(await appended(spine)) == ahead + 1


async def test_a_tick_in_the_far_future_does_not_stop_a_schedule(spine: Spine) -> None:
    await note(spine, nightly(), NIGHT)
    await note(spine, nightly(), NIGHT + timedelta(days=400))
    assert await note(spine, nightly(), NIGHT + timedelta(days=1)) == 1


async def test_of_two_relays_as_processes_one_notes_a_tick_and_the_other_does_not_note_it_again(
    spine: Spine, tmp_path: Path
) -> None:
    """A leader looks at the schedules before its first step, so what it expands says that it has looked."""
    await passed_over(spine, "retention", datetime.now(UTC) - timedelta(days=3))
    with contextlib.ExitStack() as stack:
        relays = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            relays.append(stack.enter_context(relay_process(spine, tmp_path / name)))
        await until(partial(expands, spine), seconds=60)
        leader = next(process for process, log in relays if b"this relay leads" in log.read_bytes())
        leader.kill()
        leader.wait()
        await until(partial(expands, spine), seconds=60)
    query = "select subject from events where organization_id = 'org_system' order by 1"
    subjects = [row[0] for row in await spine.rows(query)]
    assert len([subject for subject in subjects if subject.startswith("retention@")]) == 1
    assert len(set(subjects)) == len(subjects)


async def expands(spine: Spine) -> bool:
    """Whether some relay leads: it turns an event into its task."""
    generation_id = await spine.accept()
    for _ in range(20):
        if await spine.rows("select 1 from tasks where subject = :id", id=generation_id):
            return True
        await asyncio.sleep(0.1)
    return False


async def passed_over(spine: Spine, name: str, at: datetime) -> None:
    """As if a relay had noted this tick at its time, and none since."""
    await ticks.note(spine.connection, [Tick(schedule=name, at=at, following=at, event=None)])


async def _is(value: bool) -> bool:
    return value

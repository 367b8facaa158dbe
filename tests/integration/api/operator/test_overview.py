"""The operator's first page."""

import re
from datetime import UTC, datetime, timedelta

from domain.tasks import claims
from runtime import clock
from tests.integration.api.operator.conftest import RENDER, rows, words
from workers import schedule


async def test_an_installation_without_work_says_so(operator):
    await operator.spine.drain()
    page = words(await operator.page("/"))
    for text in ("0 pending events", "0 dead letters", "0 set aside", "No task is open", "There are none yet"):
        assert text in page


async def test_queues_are_counted_by_state_and_by_the_age_of_the_oldest(operator):
    for _ in range(3):
        await operator.post()
    await operator.spine.step()
    await operator.change("update tasks set state = 'ready', run_at = now() - interval '90 s' where id = 1")
    await claims.claim(operator.spine.system, [2], actors=[RENDER], owner="worker", lease=timedelta(seconds=30))
    await operator.change("update tasks set queue = 'mail', state = 'ready' where id = 3")
    table = rows(await operator.page("/"))
    assert next(row for row in table if row.startswith("images")).startswith("images 1 0 0 1 1 min 30 s")
    assert next(row for row in table if row.startswith("mail")).startswith("mail 1 0 0 0")


async def test_tasks_whose_time_comes_later_are_not_counted_as_ready(operator):
    for _ in range(3):
        await operator.post()
    await operator.spine.step()
    await operator.change("update tasks set state = 'ready'")
    await operator.change("update tasks set run_at = now() + interval '5 min', attempts = 1 where id = 2")
    tomorrow = clock.rfc3339(clock.product() + timedelta(days=1))
    await operator.post({"prompt": "later", "run_at": tomorrow})
    await operator.spine.step()
    await operator.change("update tasks set state = 'ready' where state = 'dispatched'")
    assert any(row.startswith("images 2 2 0 0") for row in rows(await operator.page("/")))


async def test_a_queue_that_nothing_was_put_in_for_long_is_still_counted(operator):
    await operator.post()
    await operator.spine.step()
    await operator.change("update tasks set state = 'ready', queue = 'forgotten'")
    await operator.fill(1_100)
    assert any(row.startswith("forgotten 1 0 0 0") for row in rows(await operator.page("/")))


async def test_the_latest_generations_are_listed_with_their_end_and_how_long_it_took(operator):
    done = await operator.post()
    await operator.spine.drain()
    tomorrow = clock.rfc3339(clock.product() + timedelta(days=1))
    scheduled = await operator.post({"prompt": "later", "run_at": tomorrow})
    page = await operator.page("/")
    first, second = (row for row in rows(page) if " gen_" in row)
    assert scheduled in first, "no relay has seen it, and it is there"
    assert "scheduled prompt-card Acme –" in first
    assert done in second
    assert re.search(r"succeeded badge Acme [\d.]+ m?s$", second)
    assert f'href="/trail/{done}"' in page


async def test_dead_letters_lead_to_the_trail_they_come_from(operator):
    generation_id = await operator.post()
    for _ in range(3):
        ids = await operator.spine.dispatch(RENDER)
        lease = timedelta(seconds=30)
        await claims.claim(operator.spine.system, ids, actors=[RENDER], owner="doomed", lease=lease)
        await operator.spine.expire_leases()
    await operator.spine.drain()
    page = await operator.page("/")
    assert "1 dead letter" in words(page)
    letter = next(row for row in rows(page) if "deaths" in row)
    assert f"generations.render {generation_id}" in letter
    assert "0 failed, 3 deaths its worker died Acme" in letter
    assert page.count(f'href="/trail/{generation_id}"') == 2


async def test_events_that_were_set_aside_say_why(operator):
    await operator.post()
    await operator.change(
        "insert into set_aside_events (event_id, organization_id, type, error) "
        "select id, organization_id, type, 'no <such> function' from events where type = 'generation.accepted'"
    )
    page = words(await operator.page("/"))
    assert "1 set aside" in page
    assert "generation.accepted" in page
    assert "no <such> function" in page


async def test_schedules_say_what_became_of_their_last_tick_and_when_the_next_one_comes(operator):
    connection = operator.spine.connection
    for day in (1, 2):
        await schedule.note_due(connection, schedule.SCHEDULES, datetime(2026, 11, day, 3, 31, tzinfo=UTC))
    table = rows(await operator.page("/"))
    retention = "retention 2 November 2026, 03:30:00.000 {} 3 November 2026, 03:30:00.000"
    assert retention.format("waits for the relay") in table
    await operator.spine.drain()
    table = rows(await operator.page("/"))
    assert retention.format("done") in table
    missed = "storage_check 2 November 2026, 03:17:00.000 passed over 2 November 2026, 04:17:00.000"
    assert missed in table


async def test_no_growing_table_is_read_from_end_to_end(operator):
    await operator.fill(3_000)
    await operator.post()
    await operator.spine.step()
    with operator.statements() as seen:
        await operator.page("/")
    assert len(seen) >= 6
    assert await operator.scans(seen) == []

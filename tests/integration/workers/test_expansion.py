"""Events whose tasks cannot be written for the moment."""

import asyncpg
import pytest

from runtime import database
from tests.integration.workers.conftest import Spine


@pytest.mark.parametrize("state", ["40P01", "53100", "55P03", "57P01", "58030"])
async def test_a_passing_fault_sets_no_event_aside_and_all_stay_pending(spine: Spine, state: str) -> None:
    await spine.drain()
    await spine.accept()
    owner = await database.connect(spine.settings.database_owner_url, name="test-owner")
    await owner.execute(f"""
        create function stumble() returns trigger language plpgsql as
        $$ begin raise exception using errcode = '{state}', message = 'for the moment'; end $$;
        create trigger stumble before insert on tasks for each row execute function stumble();
        grant execute on function stumble to public;
    """)
    with pytest.raises(asyncpg.PostgresError) as raised:
        await spine.step()
    assert raised.value.sqlstate == state
    assert await spine.value("select count(*) from set_aside_events") == 0
    await owner.execute("drop function stumble cascade")
    await owner.close()
    assert (await spine.step()).expanded == 1
    assert await spine.value("select count(*) from tasks where actor = 'generations.render'") == 1

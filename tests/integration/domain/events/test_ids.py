"""The database makes ids as `runtime.ids` does."""

import uuid
from datetime import timedelta
from itertools import pairwise

from sqlalchemy import text

from runtime import clock, ids
from runtime.database import SystemDatabase

MANY = 2_000


async def made(system: SystemDatabase) -> list[str]:
    """In the order of their making."""
    async with system.system_transaction() as tx:
        rows = await tx.execute(text("select new_id('dlv') from generate_series(1, :many)"), {"many": MANY})
        return [row[0] for row in rows]


async def test_an_id_of_the_database_is_a_uuid_of_version_7_and_says_when_it_was_made(system: SystemDatabase) -> None:
    before = clock.machine()
    for written in await made(system):
        assert ids.is_id("dlv", written)
        number = sum(ids.ALPHABET.index(letter) << 5 * place for place, letter in enumerate(reversed(written[4:])))
        assert (uuid.UUID(int=number).version, uuid.UUID(int=number).variant) == (7, uuid.RFC_4122)
        assert before - timedelta(seconds=1) < ids.made_at(written) < clock.machine() + timedelta(seconds=1)


async def test_no_two_are_the_same_and_later_ones_never_say_an_earlier_time(system: SystemDatabase) -> None:
    written = await made(system)
    assert len(set(written)) == MANY
    assert all(ids.made_at(earlier) <= ids.made_at(later) for earlier, later in pairwise(written))


async def test_all_bits_behind_version_and_variant_are_by_chance(system: SystemDatabase) -> None:
    """Each letter that holds none of those takes all of its 32 values."""
    written = await made(system)
    free = [place for place in range(10, 26) if place not in {10, 13}]
    assert all(len({each[4:][place] for each in written}) == 32 for place in free)

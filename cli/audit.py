"""What really happened, by SQL, by the files of the store and by the receiver's own log; by no code of the product."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import msgspec

from cli import invariants
from cli.installation import Installation
from cli.receiver import Received
from runtime import database

_GENERATIONS = "select id, status from generations where id = any($1)"
_ASSETS = "select generation_id, storage_key, sha256 from assets where generation_id = any($1)"
_ENTRIES = """
    select generation_id,
        count(*) filter (where kind = 'hold') as holds,
        count(*) filter (where kind = 'settle') as settles,
        count(*) filter (where kind = 'release') as releases
    from credit_entries where generation_id = any($1) group by generation_id
"""
_DEAD = "select count(*) from tasks where state = 'dead'"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over the generations that were accepted. `lost`: accepted and without an end, an image that is charged
    and stored, or a webhook that told of it. `doubled`: more than one of what there may be only one of.
    """

    generations: int
    succeeded: int
    images: int
    damaged: int
    charges: int
    open_holds: int
    webhooks: int
    dead: int
    drifted_accounts: int
    lost: int
    doubled: int

    def sound(self, wanted: int) -> bool:
        counts = {self.generations, self.succeeded, self.images, self.charges, self.webhooks}
        faults = (self.damaged, self.open_holds, self.dead, self.drifted_accounts, self.lost, self.doubled)
        return counts == {wanted} and not any(faults)


async def audit(running: Installation, accepted: Sequence[str], received: Sequence[Received]) -> Verdict:
    connection = await database.connect(running.settings.database_system_url, name="atelier-audit")
    try:
        return await _audit(connection, running.settings.storage_dir, accepted, received)
    finally:
        await connection.close()


async def _audit(
    connection: asyncpg.Connection, storage: Path, accepted: Sequence[str], received: Sequence[Received]
) -> Verdict:
    wanted = set(accepted)
    statuses = {row["id"]: row["status"] for row in await connection.fetch(_GENERATIONS, list(wanted))}
    assets = await connection.fetch(_ASSETS, list(wanted))
    entries = {row["generation_id"]: row for row in await connection.fetch(_ENTRIES, list(wanted))}
    sound = await asyncio.to_thread(_sound_files, storage, assets)
    told = {got.subject for got in received if got.is_end and got.verified} & wanted
    settled = {generation for generation, row in entries.items() if row["settles"]}
    whole = {generation for generation, status in statuses.items() if status == "succeeded"} & sound & settled & told
    return Verdict(
        generations=len(statuses),
        succeeded=sum(status == "succeeded" for status in statuses.values()),
        images=len(sound),
        damaged=len(assets) - len(sound),
        charges=sum(row["settles"] for row in entries.values()),
        open_holds=sum(row["holds"] - row["settles"] - row["releases"] for row in entries.values()),
        webhooks=len(told),
        dead=await connection.fetchval(_DEAD),
        drifted_accounts=len(await connection.fetch(invariants.BALANCE.sql)),
        lost=len(wanted - whole),
        doubled=_doubled(accepted, assets, entries, received),
    )


def _sound_files(storage: Path, assets: Sequence[asyncpg.Record]) -> set[str]:
    """The generations whose file is there with the bytes that it should have."""
    return {
        asset["generation_id"]
        for asset in assets
        if (path := storage / asset["storage_key"]).exists()
        and hashlib.sha256(path.read_bytes()).hexdigest() == asset["sha256"]
    }


def _doubled(
    accepted: Sequence[str],
    assets: Sequence[asyncpg.Record],
    entries: dict[str, asyncpg.Record],
    received: Sequence[Received],
) -> int:
    """Repeated webhooks count only when they came under another id: at least once, under one id, is the promise."""
    ids_by_generation: dict[str, set[str]] = {}
    for got in received:
        if got.is_end:
            ids_by_generation.setdefault(got.subject, set()).add(got.id)
    generations = len(accepted) - len(set(accepted))
    images = len(assets) - len({asset["generation_id"] for asset in assets})
    charges = sum(max(0, int(row["settles"] + row["releases"] - row["holds"])) for row in entries.values())
    webhooks = sum(len(ids) - 1 for ids in ids_by_generation.values())
    return generations + images + charges + webhooks

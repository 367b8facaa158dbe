"""What became of every promise: by SQL, by the files, and by what client and receiver wrote down; by no code of the
product. What breaks a rule is a Breach, of the kinds of `cli/invariants.sql`.
"""

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from bench.faults.journal import Answered, Asked, Delivered, Struck, Woken, read
from bench.faults.receiver import ENDS
from bench.tenants import Tenant
from cli import invariants, receiver
from cli.invariants import Breach
from runtime import database
from runtime.settings import Settings

_GENERATIONS = """
    select id, status, metadata ->> 'key' as key, extract(epoch from ended_at - created_at)::float as seconds
    from generations where organization_id = any($1)
"""
_ASSETS = "select generation_id, storage_key, sha256, bytes from assets where organization_id = any($1)"
_EXPECTED = """
    select e.id, e.type, e.subject, w.url from events e
    join webhook_endpoints w on w.organization_id = e.organization_id
        and (cardinality(w.event_types) = 0 or e.type = any (w.event_types))
    where e.organization_id = any($1) and e.type like 'generation.%'
"""
_MAILS = "select id, subject from notifications where organization_id = any($1) and status = 'sent'"
_DEATHS = """
    select split_part(f ->> 'owner', '/', 2)::int as pid, (f ->> 'at')::timestamptz
        + coalesce(f ->> 'rest', '0')::double precision * interval '1 second' as at
    from tasks t cross join lateral jsonb_array_elements(t.failures) f where f ->> 'kind' = 'death'
"""
_TOKENS = "select id, lease_token from tasks where id = any($1) and lease_token is not null"
_UPLOADS = "select storage_key from files where organization_id = any($1)"
_SERVERS = "select 'PostgreSQL ' || current_setting('server_version')"
_DEAD = "select actor, count(*) from tasks where state = 'dead' group by actor"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that there is to judge by, read once the installation had come to rest."""

    settings: Settings
    tenants: Sequence[Tenant]
    asked: Sequence[Asked]
    answered: Sequence[Answered]
    delivered: Sequence[Delivered]
    struck: Sequence[Struck]
    woken: Sequence[Woken] = ()
    generations: Sequence[Mapping[str, Any]]
    assets: Sequence[Mapping[str, Any]]
    uploads: Sequence[str]
    expected: Sequence[Mapping[str, Any]]
    mails: Sequence[Mapping[str, Any]]
    deaths: Sequence[Mapping[str, Any]]
    tokens: dict[int, int] = {}
    dead: dict[str, int]
    servers: str = ""
    broken: Sequence[Breach]

    @property
    def promises(self) -> list[Answered]:
        """The 2xx answers that accepted a generation."""
        keys = {line.key for line in self.asked if line.what in {"image", "poison"}}
        return [line for line in self.answered if line.status < 300 and line.key in keys]


async def gather(settings: Settings, tenants: Sequence[Tenant], folder: Path) -> Evidence:
    organizations = [tenant.organization_id for tenant in tenants]
    woken = list(read(folder / "nemesis.jsonl", Woken))
    connection = await database.connect(settings.database_system_url, name="atelier-audit")
    try:
        return Evidence(
            settings=settings,
            tenants=tenants,
            asked=list(read(folder / "client.jsonl", Asked)),
            answered=list(read(folder / "client.jsonl", Answered)),
            delivered=list(read(folder / "receiver.jsonl", Delivered)),
            struck=list(read(folder / "nemesis.jsonl", Struck)),
            woken=woken,
            generations=await connection.fetch(_GENERATIONS, organizations),
            assets=await connection.fetch(_ASSETS, organizations),
            uploads=[row[0] for row in await connection.fetch(_UPLOADS, organizations)],
            expected=await connection.fetch(_EXPECTED, organizations),
            mails=await connection.fetch(_MAILS, organizations),
            deaths=await connection.fetch(_DEATHS),
            tokens=dict(await connection.fetch(_TOKENS, [task for line in woken for task in line.held])),
            dead=dict(await connection.fetch(_DEAD)),
            servers=await connection.fetchval(_SERVERS),
            broken=await invariants.breaches(connection),
        )
    finally:
        await connection.close()


async def judge(evidence: Evidence) -> list[Breach]:
    found = [*evidence.broken, *_promises(evidence), *_webhooks(evidence), *_mails(evidence), *_fences(evidence)]
    found += await asyncio.to_thread(lambda: list(_files(evidence)))
    return sorted(set(found))


def recoveries(evidence: Evidence) -> list[float]:
    """Seconds from the last blow at a worker to the moment when a task that it held could be had again."""
    found = []
    for death in evidence.deaths:
        at = _at(death)
        blows = [line.at for line in evidence.struck if line.pid == death["pid"] and line.at <= at]
        found += [at - max(blows)] if blows else []
    return sorted(found)


def _at(death: Mapping[str, Any]) -> float:
    at: datetime = death["at"]
    return at.timestamp()


def _promises(evidence: Evidence) -> Iterator[Breach]:
    """What was answered with 2xx is there; one key made one generation and always got one answer."""
    known = {row["id"] for row in evidence.generations}
    for line in evidence.promises:
        if line.id not in known:
            yield Breach("lost", "what was accepted is in the database", line.id)
    answers = {(line.key, line.id, line.sha256) for line in evidence.promises}
    yield from _repeated("one key is always given the same answer", (key for key, _, _ in answers))
    yield from _repeated("one key makes one generation", (row["key"] for row in evidence.generations))
    for key in {row["key"] for row in evidence.generations} - {line.key for line in evidence.asked}:
        yield Breach("books", "every generation was asked for", str(key))


def _webhooks(evidence: Evidence) -> Iterator[Breach]:
    """By the receiver's own log: each event came to each endpoint that wanted it, always the same, always signed."""
    lines: dict[tuple[str, int, int], list[Delivered]] = defaultdict(list)
    for line in evidence.delivered:
        lines[line.id, line.hook, line.tenant].append(line)
    expected = {(row["id"], *_place(row["url"])): row for row in evidence.expected}
    for place, row in expected.items():
        if not any(line.status < 300 for line in lines.get(place, ())):
            yield Breach("lost", "every event was delivered", f"{row['type']} {row['id']} to {row['url']}")
    for place, came in lines.items():
        if place not in expected:
            yield Breach("books", "a webhook speaks of an event", place[0])
        elif any(_content(line) != (expected[place]["type"], expected[place]["subject"]) for line in came):
            yield Breach("books", "a webhook says what its event says", place[0])
        if len({line.body for line in came}) > 1:
            yield Breach("books", "a webhook is repeated byte for byte", place[0])
        if not all(_is_signed(line, evidence.tenants[line.tenant]) for line in came):
            yield Breach("books", "every webhook's signature verifies", place[0])
    ends = ((place, _content(came[0])) for place, came in lines.items())
    told = (f"{subject} at {place[1:]}" for place, (kind, subject) in ends if kind in ENDS)
    yield from _repeated("an end is told under one id", told)


def _mails(evidence: Evidence) -> Iterator[Breach]:
    written = " ".join(path.name for path in evidence.settings.mail_dir.glob("*.eml"))
    told = {row["subject"] for row in evidence.mails if row["id"] in written}
    for row in evidence.generations:
        if row["status"] in {"succeeded", "failed"} and row["id"] not in told:
            yield Breach("lost", "every end was mailed", row["id"])


def _fences(evidence: Evidence) -> Iterator[Breach]:
    """Tokens only grow: whoever was frozen until others had its tasks has put its own token on none of them."""
    for line in evidence.woken:
        for task, token in line.now.items():
            if evidence.tokens.get(task, token) < token:
                yield Breach("books", "a lease that was lost stays lost", f"task {task} of {line.blow} {line.pid}")


def _files(evidence: Evidence) -> Iterator[Breach]:
    """Every image is there, whole; and nothing is there beside them but what ended generations may have left."""
    storage = evidence.settings.storage_dir
    for asset in evidence.assets:
        path = storage / asset["storage_key"]
        content = path.read_bytes() if path.exists() else b""
        if len(content) != asset["bytes"] or hashlib.sha256(content).hexdigest() != asset["sha256"]:
            yield Breach("lost", "every image is stored as it was made", asset["generation_id"])
    stored = {path.relative_to(storage).as_posix() for path in (storage / "o").rglob("*") if path.suffix == ".png"}
    orphans = stored - {asset["storage_key"] for asset in evidence.assets} - {*evidence.uploads}
    unfinished = sum(row["status"] in {"failed", "cancelled"} for row in evidence.generations)
    if len(orphans) > unfinished:
        yield from (Breach("books", "every stored image is somebody's", key) for key in orphans)


def _repeated(rule: str, items: Iterable[str]) -> Iterator[Breach]:
    yield from (Breach("doubled", rule, str(item)) for item, count in Counter(items).items() if count > 1)


def _place(url: str) -> tuple[int, int]:
    """Hook and tenant, from an endpoint's address."""
    *_, hook, tenant = url.split("/")
    return int(hook), int(tenant)


def _content(line: Delivered) -> tuple[str, str]:
    body: dict[str, Any] = msgspec.json.decode(line.body)
    return body["type"], body["data"]["id"]


def _is_signed(line: Delivered, tenant: Tenant) -> bool:
    headers = {
        "webhook-id": line.id,
        "webhook-timestamp": line.timestamp,
        "webhook-signature": line.signature,
    }
    return receiver.verify(tenant.secrets[line.hook], headers, line.body.encode(), line.at)

"""`atelier dead-letters`: what waits for a person, and what the person decides; the audit trail has every decision."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from cli import attached, tables
from domain.dead_letters import decisions, letters
from domain.dead_letters.letters import Filter
from domain.errors import DomainError
from domain.tasks import dead_letters
from domain.tasks.dead_letters import DeadLetter, SetAside
from domain.tasks.errors import DeadLetterNotFound, ExpansionFailed
from runtime import clock, ids
from runtime.database import Database, SystemDatabase
from runtime.settings import Settings
from workers import reactions

PAGE: Final = 100

_KNOWN = frozenset(event.type for event in reactions.REACTIONS)


def run(given: argparse.Namespace, settings: Settings) -> int:
    return asyncio.run(_run(given, attached.settings_of(settings)))


async def _run(given: argparse.Namespace, settings: Settings) -> int:
    database = Database(settings.database_url, size=2, name="atelier-dead-letters")
    system = SystemDatabase(settings.database_system_url, size=2, name="atelier-dead-letters")
    actions = {"list": _list, "show": _show, "replay": _replay, "discard": _discard}
    try:
        return await actions[given.action](given, Desk(database, system))
    finally:
        await database.close()
        await system.close()


class Desk(msgspec.Struct, frozen=True):
    """Where the letters lie: `system` sees them all, what is decided of one is done inside its organization."""

    database: Database
    system: SystemDatabase

    async def letters(self, only: Filter) -> AsyncIterator[DeadLetter]:
        """Oldest first, page by page: what is decided of one does not hide the next."""
        last = 0
        while True:
            async with self.system.system_transaction() as tx:
                page = await letters.oldest(tx, only, after=last, limit=PAGE)
            for letter in page:
                yield letter
            if len(page) < PAGE:
                return
            last = page[-1].id

    async def events(self) -> AsyncIterator[SetAside]:
        last = ""
        while True:
            async with self.system.system_transaction() as tx:
                page = await dead_letters.set_aside(tx, after=last, limit=PAGE)
            for event in page:
                yield event
            if len(page) < PAGE:
                return
            last = page[-1].event_id

    async def find(self, name: str) -> DeadLetter | SetAside:
        """By a task's number or an event's id. Raises DeadLetterNotFound, SetAsideEventNotFound."""
        async with self.system.system_transaction() as tx:
            if ids.is_id("evt", name):
                return await dead_letters.one_set_aside(tx, name)
            if not name.isdecimal():
                raise DeadLetterNotFound(f"{name!r:.60} is neither a task's number nor an event's id")
            return await dead_letters.one(tx, int(name))

    async def replay(self, found: DeadLetter | SetAside) -> None:
        """Raises what the domain says against it; then nothing has changed."""
        if isinstance(found, SetAside):
            await self._expand(found)
        else:
            await decisions.replay(self.database, found)

    async def _expand(self, event: SetAside) -> None:
        if event.type not in _KNOWN:
            raise ExpansionFailed(f"this release does not know events of the type {event.type}")
        async with self.system.system_transaction() as tx:
            await dead_letters.expand_again(tx, event, reactions.rows(), by=decisions.OPERATOR)

    async def discard(self, found: DeadLetter | SetAside, reason: str) -> None:
        if isinstance(found, SetAside):
            async with self.system.system_transaction() as tx:
                await dead_letters.drop(tx, found, by=decisions.OPERATOR, reason=reason)
        else:
            await decisions.discard(self.database, found, reason)


async def _list(given: argparse.Namespace, desk: Desk) -> int:
    found = [letter async for letter in desk.letters(_filter(given))]
    events = [] if _filter(given) != Filter() else [event async for event in desk.events()]
    if given.json:
        _print_json({"dead_letters": found, "set_aside_events": events})
        return 0
    if not found and not events:
        print("Nothing waits for a person.")
    if found:
        rows = [
            (
                letter.id,
                letter.actor,
                letter.subject,
                letter.attempts,
                letter.deaths,
                _ago(letter.ended_at),
                _last(letter),
            )
            for letter in found
        ]
        print(tables.text(("TASK", "ACTOR", "SUBJECT", "TRIES", "DEATHS", "DIED", "LAST FAILURE"), rows))
    if events:
        aside = [(event.event_id, event.type, _ago(event.set_aside_at), event.error) for event in events]
        print(tables.text(("SET-ASIDE EVENT", "TYPE", "SINCE", "ERROR"), aside))
    return 0


async def _show(given: argparse.Namespace, desk: Desk) -> int:
    found = await desk.find(given.id)
    if given.json:
        _print_json(found)
        return 0
    fields = msgspec.structs.asdict(found)
    failures = fields.pop("failures", [])
    width = max(map(len, fields))
    for name, value in fields.items():
        print(f"{name:<{width}}  {clock.rfc3339(value) if isinstance(value, datetime) else value}")
    for number, failure in enumerate(failures, 1):
        print(f"\n{number}. {failure['kind']} at {failure['at']}\n   {failure['reason']}")
    return 0


async def _replay(given: argparse.Namespace, desk: Desk) -> int:
    if not (given.ids or given.all or given.set_aside):
        print("atelier: say what to replay: tasks' numbers, events' ids, --all or --set-aside", file=sys.stderr)
        return 2
    return await _each(given, _chosen(given, desk), desk.replay, "replayed")


async def _discard(given: argparse.Namespace, desk: Desk) -> int:
    async def discard(found: DeadLetter | SetAside) -> None:
        await desk.discard(found, given.reason)

    return await _each(given, _named([given.id], desk), discard, "discarded")


Found = tuple[str, DeadLetter | SetAside | DomainError]
"""A name and what it stands for, or why it stands for nothing."""


async def _named(names: list[str], desk: Desk) -> AsyncIterator[Found]:
    for name in names:
        try:
            yield name, await desk.find(name)
        except DomainError as refusal:
            yield name, refusal


async def _chosen(given: argparse.Namespace, desk: Desk) -> AsyncIterator[Found]:
    async for found in _named(given.ids, desk):
        yield found
    if given.all:
        async for letter in desk.letters(_filter(given)):
            yield str(letter.id), letter
    if given.set_aside:
        async for event in desk.events():
            yield event.event_id, event


async def _each(
    given: argparse.Namespace,
    chosen: AsyncIterator[Found],
    deed: Callable[[DeadLetter | SetAside], Awaitable[None]],
    done: str,
) -> int:
    """One by one, each by itself; 1 when one was refused."""
    succeeded: list[str] = []
    refused: list[dict[str, str]] = []
    async for name, found in chosen:
        try:
            if isinstance(found, DomainError):
                raise found
            await deed(found)
            succeeded.append(name)
            _say(given, f"✓ {name} {done}")
        except DomainError as refusal:
            refused.append({"id": name, "code": refusal.code, "detail": refusal.detail})
            _say(given, f"✗ {name}: {refusal.detail} ({refusal.code})", to_errors=True)
        await asyncio.sleep(1 / given.rate if getattr(given, "rate", None) else 0)
    if given.json:
        _print_json({done: succeeded, "refused": refused})
    elif not succeeded and not refused:
        print("Nothing waits for a person.")
    return 1 if refused else 0


def _say(given: argparse.Namespace, line: str, *, to_errors: bool = False) -> None:
    if not given.json:
        print(line, file=sys.stderr if to_errors else sys.stdout, flush=True)


def _filter(given: argparse.Namespace) -> Filter:
    return Filter(actor=given.actor, queue=given.queue, organization_id=given.organization, reason=given.reason)


def _print_json(value: Any) -> None:
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _ago(moment: datetime) -> str:
    return tables.duration((clock.machine() - moment).total_seconds()) + " ago"


def _last(letter: DeadLetter) -> str:
    return str(letter.failures[-1]["reason"]) if letter.failures else ""

"""`atelier doctor`: looks at every part of an installation and says what to do; changes nothing."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from cli import attached, contract
from cli.checks import configuration, database, rendering, services
from cli.checks.finding import Finding, Subject, guarded
from runtime.settings import Settings

MARKS: Final = {"good": "✓", "note": "·", "bad": "✗"}

Check = Callable[[Subject], Awaitable[list[Finding]]]


def run(given: argparse.Namespace, settings: Settings) -> int:
    """1 when something has to be mended."""
    findings = asyncio.run(examine(settings))
    broken = sum(finding.state == "bad" for finding in findings)
    if given.json:
        report = {"healthy": not broken, "findings": findings}
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        print(_text(findings))
        print(f"\n{broken} to mend." if broken else "\nEverything is as it should be.")
    return 1 if broken else 0


async def examine(settings: Settings) -> list[Finding]:
    subject = subject_of(settings)
    found: list[Finding] = []
    for part, check, advice in _checks(subject):
        found += await guarded(part, check(subject), subject.settings, advice)
    return found


def subject_of(given: Settings) -> Subject:
    running = contract.read(given.data_dir)
    settings = attached.settings_of(given) if running or given.database_url else given
    if running is not None:
        settings = msgspec.structs.replace(
            settings, storage_dir=Path(running.storage_dir), mail_dir=Path(running.mail_dir)
        )
    return Subject(settings=settings, running=running)


def _checks(subject: Subject) -> list[tuple[str, Check, str]]:
    """Part, check, and what to do when the check itself fails."""
    if subject.settings.database_url:
        base: tuple[str, Check, str] = (
            "PostgreSQL", database.everything, "is it running, and is ATELIER_DATABASE_URL right?"
        )  # fmt: skip
    else:
        base = ("PostgreSQL", database.embedded, "install PostgreSQL, or set ATELIER_DATABASE_URL")
    return [
        ("settings", configuration.settings, "see docs/settings.md"),
        ("installation", services.installation, "see the logs in the data folder"),
        base,
        *_brokers(subject.settings),
        ("storage", services.store, "make the folder writable, or set ATELIER_STORAGE_DIR"),
        ("mail", services.mail, "correct ATELIER_SMTP_URL"),
        ("rendering", rendering.children, "look at the error; `make setup` installs what is missing"),
        ("fonts", rendering.fonts, "install the package anew"),
        ("outbound", configuration.outbound_policy, "correct ATELIER_OUTBOUND_ALLOW"),
    ]


def _brokers(settings: Settings) -> Iterator[tuple[str, Check, str]]:
    """Beside RabbitMQ, Redis may carry the wake-ups."""
    if settings.broker == "rabbitmq":
        yield "RabbitMQ", services.rabbitmq, "is it running, and is ATELIER_RABBITMQ_URL right?"
    if settings.broker != "rabbitmq" or settings.redis_url:
        yield "Redis", services.queue, "is it running, and is ATELIER_REDIS_URL right?"


def _text(findings: Sequence[Finding]) -> str:
    width = max(len(finding.part) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{MARKS[finding.state]} {finding.part:<{width}}  {finding.says}")
        if finding.advice:
            lines.append(f"  {'':<{width}}  → {finding.advice}")
    return "\n".join(lines)

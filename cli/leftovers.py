"""`atelier leftovers`: how much in the store nothing refers to; deletes it when asked to."""

import argparse
import asyncio

import msgspec

from cli import attached
from domain.upkeep import leftovers
from domain.upkeep.leftovers import Report
from runtime.database import SystemDatabase
from runtime.settings import Settings
from storage.factory import build_store


def run(given: argparse.Namespace, settings: Settings) -> int:
    report = asyncio.run(_sweep(attached.settings_of(settings), delete=given.delete))
    if given.json:
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        deleted = f" {report.deleted} deleted." if given.delete else ""
        print(f"Nothing refers to {report.objects} objects with {report.bytes} bytes.{deleted}")
    return 0


async def _sweep(settings: Settings, *, delete: bool) -> Report:
    system = SystemDatabase(settings.database_system_url, size=1, name="atelier-leftovers")
    try:
        return await leftovers.sweep(system, build_store(settings), settings, delete=delete)
    finally:
        await system.close()

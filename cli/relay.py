"""`atelier relay`: leads, or stands by, until SIGTERM."""

import argparse
import asyncio

from migrations import compatibility
from runtime import settings as settings_module
from runtime.settings import Settings
from workers import app


def run(_given: argparse.Namespace, settings: Settings) -> None:
    settings_module.require(settings, "database_url")
    asyncio.run(compatibility.check(settings.database_system_url))
    app.serve_relay(settings)

"""`atelier api`: the API and the operators' port, until SIGTERM."""

import argparse
import asyncio

from api import server
from migrations import compatibility
from runtime import settings as settings_module
from runtime.settings import Settings


def run(_given: argparse.Namespace, settings: Settings) -> None:
    settings_module.require(settings, "database_url", "encryption_keys", "signing_keys")
    asyncio.run(compatibility.check(settings.database_system_url))
    server.run(settings)

"""`atelier api`: the API and the operators' port, until SIGTERM."""

import argparse
import functools

from api import server
from cli import readiness
from migrations import compatibility
from runtime import settings as settings_module
from runtime.settings import Settings


def run(_given: argparse.Namespace, settings: Settings) -> int:
    settings_module.require(settings, "database_url", "encryption_keys", "signing_keys")
    readiness.wait_for_database(settings)
    return server.run(settings, functools.partial(compatibility.check, settings.database_system_url))

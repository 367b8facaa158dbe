"""`atelier relay`: leads, or stands by, until SIGTERM."""

import argparse

from cli import readiness
from runtime import settings as settings_module
from runtime.settings import Settings
from workers import app


def run(_given: argparse.Namespace, settings: Settings) -> int:
    settings_module.require(settings, "database_url")
    readiness.wait_for_database(settings)
    return app.serve_relay(settings)

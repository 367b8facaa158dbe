"""`atelier worker`: one process that carries out the tasks of one group of queues, until SIGTERM."""

import argparse
from collections.abc import Mapping
from typing import Final

from cli import readiness
from runtime import settings as settings_module
from runtime.settings import Settings
from workers import app

NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "images": ("database_url",),
    "io": ("database_url", "encryption_keys", "signing_keys", "smtp_url"),
}
"""Settings, by group."""


def run(given: argparse.Namespace, settings: Settings) -> int:
    settings_module.require(settings, *NEEDED[given.group])
    readiness.wait_for_database(settings)
    return app.serve_worker(settings, given.group)

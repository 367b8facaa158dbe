"""`atelier worker`: one process that carries out the tasks of one group of queues, until SIGTERM."""

import argparse

from runtime import settings as settings_module
from runtime.settings import Settings
from workers import app


def run(given: argparse.Namespace, settings: Settings) -> None:
    settings_module.require(settings, "database_url", "encryption_keys", "signing_key", "smtp_url")
    app.serve_worker(settings, given.group)

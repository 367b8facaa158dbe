"""`atelier worker`: one process that carries out the tasks of one group of queues, until SIGTERM."""

import argparse

from runtime.settings import Settings
from workers import app


def run(given: argparse.Namespace, settings: Settings) -> None:
    app.serve_worker(settings, given.group)

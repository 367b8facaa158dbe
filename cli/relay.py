"""`atelier relay`: leads, or stands by, until SIGTERM."""

import argparse

from runtime.settings import Settings
from workers import app


def run(_given: argparse.Namespace, settings: Settings) -> None:
    app.serve_relay(settings)

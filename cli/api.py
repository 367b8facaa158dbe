"""`atelier api`: the API and the operators' port, until SIGTERM."""

import argparse

from api import server
from runtime.settings import Settings


def run(_given: argparse.Namespace, settings: Settings) -> None:
    server.run(settings)

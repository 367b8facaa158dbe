"""`atelier api`: the API and the operators' port, until SIGTERM."""

import argparse

import uvloop

from api import server
from runtime.settings import Settings


def run(_given: argparse.Namespace, settings: Settings) -> None:
    uvloop.run(server.serve(settings))

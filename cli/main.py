"""`atelier`: every command, its help, and how its failures are said."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Final

from api import server
from cli import migrate, prove, seed, up
from domain.errors import DomainError
from runtime import settings as settings_module
from runtime.database import WrongRoleError
from runtime.failpoints import FailpointSpecError
from runtime.processes import StartError
from runtime.services import AlreadyRunningError, ServiceUnavailableError
from runtime.settings import Settings, SettingsError
from workers import app as workers

Command = Callable[[argparse.Namespace, Settings], int | None]

EXAMPLES: Final = """\
examples:
  atelier up                         everything on this machine, until Ctrl-C
  atelier up --demo --once           the same, one real image end to end, then stop
  atelier prove                      200 images while a worker is killed and Redis is wiped
  atelier api                        the API alone, as in production
  atelier worker --group images      one worker process for renders
  atelier dead-letters list          what waits for a person

Every setting is an ATELIER_… environment variable, or a line in .env: see docs/settings.md.
"""
EXPECTED: Final = (
    AlreadyRunningError, DomainError, FailpointSpecError, ServiceUnavailableError, SettingsError, StartError,
    WrongRoleError,
)  # fmt: skip
"""What a person can do something about: one line, exit status 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        return given.command(given, settings_module.load()) or 0
    except EXPECTED as error:
        print(f"atelier: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="atelier",
        description="The self-hosted backend behind an image-generation SaaS.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    started = add("up", up.run, "start everything on this machine and serve until Ctrl-C")
    started.add_argument("--demo", action="store_true", help="make one real image first and show every step")
    started.add_argument("--once", action="store_true", help="with --demo: stop after that image")
    add("api", lambda _, settings: server.run(settings), "serve the API and the operators' port")
    group = add("worker", lambda given, settings: workers.serve_worker(settings, given.group), "carry out tasks")
    group.add_argument("--group", choices=("images", "io"), required=True, help="which queues to serve")
    add("relay", lambda _, settings: workers.serve_relay(settings), "turn events into tasks and tasks into messages")
    add("migrate", migrate.run, "bring the database to this release's schema")
    add("seed", lambda _, settings: _seed(settings), "make the two demo organizations and print their keys")
    proof = add("prove", prove.run, "200 images, each asked for twice, under a kill and a flush; then an audit")
    proof.add_argument("--images", type=int, default=200, metavar="N", help="how many images (default 200)")
    return parser


def _seed(settings: Settings) -> None:
    keys = asyncio.run(seed.demo(settings))
    print(f"Demo         {keys.api_key}\nSecond demo  {keys.second_api_key}")


if __name__ == "__main__":
    sys.exit(main())

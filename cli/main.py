"""`atelier`: every command, its help, and how its failures are said."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

from cli.readiness import LOST, DatabaseAwayError
from domain.errors import DomainError
from migrations.compatibility import IncompatibleDatabaseError
from runtime import settings as settings_module
from runtime.database import WrongRoleError
from runtime.failpoints import FailpointSpecError
from runtime.processes import StartError
from runtime.services import AlreadyRunningError, ServiceUnavailableError
from runtime.settings import Settings, SettingsError

Command = Callable[[argparse.Namespace, Settings], int | None]

EXAMPLES: Final = """\
examples:
  atelier up                         everything on this machine, until Ctrl-C
  atelier up --demo --once           the same, one real image end to end, then stop
  atelier prove                      200 images while workers are killed and Redis is wiped
  atelier api                        the API alone, as in production
  atelier worker --group images      one worker process for renders
  atelier doctor                     check every part and say what to do
  atelier dead-letters list          what waits for a person

Every setting is an ATELIER_… environment variable, or a line in .env: see docs/settings.md.
"""
EXPECTED: Final = (
    AlreadyRunningError, DatabaseAwayError, DomainError, FailpointSpecError, IncompatibleDatabaseError,
    ServiceUnavailableError, SettingsError, StartError, WrongRoleError,
)  # fmt: skip
"""What a person can do something about: one line, exit status 2."""
SERVING: Final = frozenset({"api", "relay", "up", "worker"})
"""Commands that wait for their servers and outlive them: whatever ends them gets into the log with its stack."""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        status = _load(given.module)(given, settings_module.load()) or 0
        sys.stdout.flush()
    except EXPECTED as error:
        print(f"atelier: {error}", file=sys.stderr)
        return 2
    except LOST as error:
        if given.module in SERVING:
            raise
        if isinstance(error, BrokenPipeError):
            return _hung_up()
        print(f"atelier: a server that this needs cannot be reached: {type(error).__name__}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status


def _hung_up() -> int:
    """Whoever reads what this prints has enough, as `head` has: no word of it, neither now nor when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def _load(module: str) -> Command:
    """Only what the command needs: a worker without the web framework (40 MB)."""
    command: Command = importlib.import_module(f"cli.{module}").run
    return command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="atelier",
        description="The self-hosted backend behind an image-generation SaaS.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(module=name.replace("-", "_"))
        return added

    up = add("up", "start everything on this machine and serve until Ctrl-C")
    up.add_argument("--demo", action="store_true", help="make one real image first and show every step")
    up.add_argument("--once", action="store_true", help="with --demo: stop after that image")
    add("api", "serve the API and the operators' port")
    worker = add("worker", "carry out tasks")
    worker.add_argument("--group", choices=("images", "io"), required=True, help="which queues to serve")
    add("relay", "turn events into tasks and tasks into messages")
    add("migrate", "bring the database to this release's schema")
    add("seed", "make the two demo organizations and print their keys")
    prove = add("prove", "200 images, each asked for twice, under kills and a flush; then an audit")
    prove.add_argument("--images", type=int, default=200, metavar="N", help="how many images (default 200)")
    prove.add_argument(
        "--configured-broker",
        action="store_true",
        help="use the RabbitMQ of the settings, and empty its queues; everything else stays its own",
    )
    doctor = add("doctor", "check every part and say what to do")
    doctor.add_argument("--json", action="store_true", help="for programs")
    found = add("leftovers", "what is in the store and nothing refers to, older than a week")
    found.add_argument("--delete", action="store_true", help="take it away")
    found.add_argument("--json", action="store_true", help="for programs")
    _dead_letters(add("dead-letters", "what waits for a person: tasks that failed for good, events set aside"))
    return parser


def _dead_letters(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=text, description=text)
        added.add_argument("--json", action="store_true", help="for programs")
        return added

    _filters(add("list", "all of them, oldest first"))
    add("show", "one of them, with each of its failures").add_argument("id", help="a task's number or an event's id")
    replay = add("replay", "begin their work anew; a failed image needs its credits again")
    replay.add_argument("ids", nargs="*", metavar="ID", help="tasks' numbers or events' ids")
    replay.add_argument("--all", action="store_true", help="every dead task")
    _filters(replay, "with --all: ")
    replay.add_argument("--set-aside", action="store_true", help="every event that was set aside")
    replay.add_argument("--rate", type=float, metavar="N", help="at most so many a second")
    discard = add("discard", "give one up for good")
    discard.add_argument("id", help="a task's number or an event's id")
    discard.add_argument("--reason", required=True, help="kept in the audit trail")


def _filters(parser: argparse.ArgumentParser, when: str = "") -> None:
    parser.add_argument("--actor", help=f"{when}only tasks of this actor, such as generations.render")
    parser.add_argument("--queue", help=f"{when}only tasks of this queue")
    parser.add_argument("--organization", metavar="ID", help=f"{when}only tasks of this organization")
    parser.add_argument("--reason", metavar="TEXT", help=f"{when}only those with this text in one of their failures")


if __name__ == "__main__":
    sys.exit(main())

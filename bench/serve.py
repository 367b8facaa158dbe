"""`python -m bench.serve`: an installation for a driver that brings its own PostgreSQL, Redis and webhook receiver.

Prints one line of JSON when it is ready and serves until its standard input ends. Its supervisor starts again what the
driver kills.
"""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from bench import tenants
from bench.tenants import Hook
from cli import installation
from migrations import roles
from runtime.settings import Secret, Settings

CREDIT: Final = 10_000_000


class Ready(msgspec.Struct, frozen=True):
    """`contract` is the file that always names the processes as they are (`cli/contract.py`)."""

    base_url: str
    api_keys: list[str]
    contract: str


def main() -> None:
    given = _parser().parse_args()
    settings = Settings(
        data_dir=given.folder,
        port=0,
        operator_port=0,
        database_admin_url=Secret(given.postgres),
        database_url=_as_app(given.postgres),
        redis_url=Secret(given.redis),
        outbound_allow="127.0.0.0/8",
        webhook_insecure_http=True,
    )
    asyncio.run(_serve(settings, given.hook, given.tenants))


async def _serve(settings: Settings, hook: str, count: int) -> None:
    async with installation.running(settings, lambda line: print(line, file=sys.stderr, flush=True)) as running:
        made = await tenants.make(running, count, [Hook(hook, ("generation.succeeded",))], credit=CREDIT)
        contract = str(running.settings.data_dir / "atelier.json")
        ready = Ready(running.contract.base_url, [tenant.api_key for tenant in made], contract)
        print(msgspec.json.encode(ready).decode(), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def _as_app(admin_url: str) -> Secret:
    """The address of the product's own database, on the driver's server."""
    parts = urlsplit(admin_url)
    return Secret(urlunsplit(parts._replace(netloc=f"{roles.APP}@{parts.netloc.rpartition('@')[2]}", path="/atelier")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m bench.serve", description=__doc__)
    parser.add_argument("--postgres", required=True, help="address of a superuser, who needs no password")
    parser.add_argument("--redis", required=True, help="address of an empty Redis")
    parser.add_argument("--hook", required=True, help="where webhooks go")
    parser.add_argument("--folder", required=True, type=Path, help="for images, logs and keys")
    parser.add_argument("--tenants", type=int, default=100, help="each has a key (default 100)")
    return parser


if __name__ == "__main__":
    main()

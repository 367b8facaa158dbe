"""Serves an installation of the checkout that is its working folder. Run by path: an older one needs none of this.

Prints one line of JSON when it is ready, and serves until its standard input ends.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

if __name__ == "__main__":  # the folder of this file is none to import from
    sys.path[0] = os.getcwd()  # noqa: PTH109 - as text

import msgspec

from bench import own, tenants
from bench.tenants import Hook
from cli import installation
from runtime.settings import Settings

TENANTS: Final = 100
CREDIT: Final = 10_000_000


def main() -> None:
    asyncio.run(_serve(sys.argv[1]))


async def _serve(hook: str) -> None:
    with tempfile.TemporaryDirectory(prefix="atelier-versus-") as folder:
        wanted = own.settings(Settings(), Path(folder))
        async with installation.running(wanted, lambda _: None) as running:
            made = await tenants.make(running, TENANTS, [Hook(hook, ("generation.succeeded",))], credit=CREDIT)
            ready = {
                "base_url": running.contract.base_url,
                "api_keys": [tenant.api_key for tenant in made],
                "pids": running.pids(),
            }
            print(msgspec.json.encode(ready).decode(), flush=True)
            await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    main()

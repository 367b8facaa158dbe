"""Runs the embedded servers of the folder given, for tests that kill the process which does so.

Prints each progress line, then one line of JSON: the servers' addresses and process ids. Stops at SIGTERM.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from runtime.services import EmbeddedServices


async def main() -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with EmbeddedServices(Path(sys.argv[1]), progress=print, fsync=False) as services:
        urls = {"postgres": services.endpoints.postgres_admin_url, "redis": services.endpoints.redis_url}
        print(json.dumps({"urls": urls, "pids": services.pids()}), flush=True)
        await stopping.wait()


asyncio.run(main())

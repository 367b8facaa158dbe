"""The receivers of the webhooks: they write down what came, byte for byte, and judge nothing.

Every tenant has two endpoints here, `/0/<tenant>` and `/1/<tenant>`. The second one is down for every eighth event
when that first comes.
"""

import time
import zlib
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from bench.faults.journal import Delivered, Journal
from bench.tenants import Hook

ENDS: Final = ("generation.succeeded", "generation.failed", "generation.cancelled")
FLAKY: Final = 1
_ONE_IN: Final = 8


class Receiver:
    """On a free port."""

    def __init__(self, journal: Journal, host: str = "127.0.0.1") -> None:
        self._journal = journal
        self._host = host
        self._refused: set[tuple[int, str]] = set()
        self._runner: web.AppRunner
        self.port = 0

    async def start(self) -> None:
        application = web.Application()
        application.router.add_post("/{hook:[01]}/{tenant:[0-9]+}", self._take)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    def hooks(self, port: int) -> Sequence[Hook]:
        """Reached over this port. The first wants to hear of everything, the flaky one of ends only."""
        base = f"http://{self._host}:{port}"
        return Hook(f"{base}/0"), Hook(f"{base}/{FLAKY}", ENDS)

    async def _take(self, request: web.Request) -> web.Response:
        at = time.time()
        body = await request.text()
        hook, message = int(request.match_info["hook"]), request.headers.get("webhook-id", "")
        status = 500 if self._is_down(hook, message) else 204
        self._journal.write(
            Delivered(
                at=at,
                hook=hook,
                tenant=int(request.match_info["tenant"]),
                id=message,
                timestamp=request.headers.get("webhook-timestamp", ""),
                signature=request.headers.get("webhook-signature", ""),
                body=body,
                status=status,
            )
        )
        return web.Response(status=status)

    def _is_down(self, hook: int, message: str) -> bool:
        if hook != FLAKY or zlib.crc32(message.encode()) % _ONE_IN or (hook, message) in self._refused:
            return False
        self._refused.add((hook, message))
        return True

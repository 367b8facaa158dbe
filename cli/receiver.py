"""A webhook receiver as a customer would write one: it verifies (Standard Webhooks 1.0), remembers, answers 204."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

TOLERANCE = 300
ENDS = frozenset({"generation.succeeded", "generation.failed", "generation.cancelled"})


class Received(msgspec.Struct, frozen=True):
    """`at` is `time.time()`; `body` the exact bytes."""

    id: str
    at: float
    body: bytes
    verified: bool

    @property
    def event(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def subject(self) -> str:
        """Id of the generation or other thing that the event speaks of."""
        return str(self.event["data"]["id"])

    @property
    def is_end(self) -> bool:
        return self.event["type"] in ENDS


class Receiver:
    """On a free loopback port. `secret` may be set after the start, when the endpoint exists."""

    def __init__(self, on_event: Callable[[Received], None] = lambda _: None) -> None:
        self.secret = ""
        self.received: list[Received] = []
        self.url = ""
        self._on_event = on_event
        self._runner: web.AppRunner

    async def start(self) -> None:
        application = web.Application()
        application.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/hook"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def wait_for(self, wanted: Callable[[Received], bool], seconds: float) -> Received:
        """Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                for received in self.received:
                    if wanted(received):
                        return received
                await asyncio.sleep(0.002)

    async def _take(self, request: web.Request) -> web.Response:
        at = time.time()
        body = await request.read()
        received = Received(
            request.headers.get("webhook-id", ""), at, body, verify(self.secret, request.headers, body, at)
        )
        self.received.append(received)
        self._on_event(received)
        return web.Response(status=204)


def verify(secret: str, headers: Mapping[str, str], body: bytes, at: float) -> bool:
    """Whether one of the signatures is right and the attempt was no more than five minutes old `at` that time."""
    message_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not secret or not sent_at.isdigit() or abs(at - int(sent_at)) > TOLERANCE:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{message_id}.{sent_at}.".encode() + body, hashlib.sha256)
    wanted = f"v1,{base64.b64encode(digest).decode()}"
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(wanted, signature) for signature in given)

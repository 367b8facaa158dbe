"""What happens to every request before routing and to every answer after it: one raw ASGI layer, because it is the
price of each request.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Receive, Scope, Send

from api import authentication, errors, metrics, problems
from api.authentication import Authenticator
from api.patience import Patience
from api.problems import ClientGoneError
from api.rate_limits import RateLimits, Verdict
from domain.api_keys.keys import Caller
from domain.errors import DomainError, LoopDetected, RateLimited
from runtime import failpoints, ids
from runtime.telemetry import logs, tracing

log = logs.logger(__name__)

BODY_TIME: Final = 30.0
"""Seconds in which a whole body has to arrive."""
OURS: Final = b"atelier"
"""How we sign everything we send (RFC 8586, CDN-Loop)."""

_REQUEST_ID = re.compile(rb"(?!.*atl_)[A-Za-z0-9._:-]{1,64}")
_SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"strict-transport-security", b"max-age=31536000"),
]
_CLOSE = (b"connection", b"close")


class Draining:
    """Whether this process is on its way out: not ready any more, and closing each connection after its answer."""

    def __init__(self) -> None:
        self.begun = False


class Edge:
    def __init__(self, app: ASGIApp, *, authenticator: Authenticator, limits: RateLimits, draining: Draining) -> None:
        self._app = app
        self._authenticator = authenticator
        self._limits = limits
        self._draining = draining
        self._patience = Patience()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers = scope["state"]["fields"] = dict(scope["headers"])
        request_id = request_id_of(headers)
        scope["state"]["request_id"] = request_id
        exchange = _Exchange(scope, receive, send, self._draining, self._patience)
        traceparent = headers.get(b"traceparent", b"").decode("latin-1")
        with logs.bound(request_id=request_id), tracing.continue_from(traceparent) as trace:
            exchange.headers = [(b"x-request-id", request_id.encode()), (b"traceparent", trace.encode()), *_SECURITY]
            with tracing.start_span(scope["method"], kind="server"):
                await self._admit(scope, headers, exchange)
            exchange.finish()

    async def _admit(self, scope: HTTPScope, headers: Mapping[bytes, bytes], exchange: "_Exchange") -> None:
        try:
            if b"cdn-loop" in headers and _was_here(scope):
                raise LoopDetected
            scope["auth"] = await self._authenticate(headers)
            if isinstance(scope["auth"], Caller):
                exchange.headers += self._limit(scope["auth"]).headers()
                failpoints.hit("api.after_auth")
        except DomainError as refusal:
            await exchange.refuse(refusal)
        else:
            await self._app(scope, exchange.receive, exchange.send)

    async def _authenticate(self, headers: Mapping[bytes, bytes]) -> Caller | DomainError | None:
        """A refusal is kept for the guards: what needs no key is served also with a wrong one."""
        key = authentication.key_of(headers)
        if key is None:
            return None
        try:
            return await self._authenticator.authenticate(key)
        except DomainError as refusal:
            return refusal
        except Exception as error:  # noqa: BLE001 - the look-up failed: `problems` knows how to say so
            told = problems.of_fault(error)
            log.warning("a key could not be looked up", code=told.code, error=type(error).__name__)
            return told

    def _limit(self, caller: Caller) -> Verdict:
        verdict = self._limits.take(caller.key_id, caller.plan)
        if not verdict.allowed:
            raise RateLimited(f"this key may make {verdict.limit} requests a minute", retry_after=verdict.wait)
        return verdict


class _Exchange:
    """One request and its answer, on their way through."""

    def __init__(self, scope: HTTPScope, receive: Receive, send: Send, draining: Draining, patience: Patience) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self._scope = scope
        self._receive = receive
        self._send = send
        self._draining = draining
        self._patience = patience
        self._began = time.perf_counter()
        self._answered = 0.0
        self._status = 0
        self._whole = False

    async def receive(self) -> HTTPReceiveMessage:
        """Raises BodyTooSlow, ClientGoneError while the body has not arrived."""
        if self._whole:
            return await self._receive()  # type: ignore[return-value]
        try:
            async with asyncio.timeout(None) as limit:
                self._patience.watch(limit, BODY_TIME - (time.perf_counter() - self._began))
                try:
                    message = await self._receive()
                finally:
                    self._patience.forget(limit)
        except TimeoutError:
            raise errors.BodyTooSlow(f"the body has to arrive within {BODY_TIME:g} seconds") from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        self._whole = not message.get("more_body", False)
        return message  # type: ignore[return-value]

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._answered = time.perf_counter()
            self._status = message["status"]
            message["headers"] = [*message["headers"], *self.headers, *([_CLOSE] if self._draining.begun else ())]
        await self._send(message)

    async def refuse(self, refusal: DomainError) -> None:
        self._scope["state"]["problem"] = refusal.code
        body = problems.encode(refusal, self._scope["state"]["request_id"])
        head = [(b"content-type", problems.MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        head += [(name.encode(), value.encode()) for name, value in problems.headers(refusal).items()]
        status = problems.status_of(type(refusal))
        await self.send({"type": "http.response.start", "status": status, "headers": head})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    def finish(self) -> None:
        seconds = (self._answered or time.perf_counter()) - self._began
        route = self._scope.get("path_template") or "(none)"
        metrics.observe(route, self._scope["method"], self._status, seconds)
        if self._status >= 400:
            metrics.problems.labels(self._scope["state"].get("problem", "(none)")).inc()
        caller = self._scope.get("auth")
        logs.plain(
            __name__,
            "request",
            method=self._scope["method"],
            route=route,
            status=self._status,
            milliseconds=round(seconds * 1000, 2),
            organization=caller.organization_id if isinstance(caller, Caller) else None,
        )


def request_id_of(headers: Mapping[bytes, bytes]) -> str:
    """The caller's own, when it is one that may be written into logs, and no API key by mistake; else a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else ids.new("req")


def _was_here(scope: HTTPScope) -> bool:
    """Whether we are one of those who have sent this on, each named before its parameters."""
    hops = b",".join(value for name, value in scope["headers"] if name == b"cdn-loop").split(b",")
    return any(hop.split(b";", 1)[0].strip().lower() == OURS for hop in hops)

"""The client itself: aiohttp behind a policy, with bounds that it lacks."""

import asyncio
import contextlib
import functools
import socket
import ssl
import time
import weakref
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, NamedTuple

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType, Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.tracing import Trace
from multidict import CIMultiDict

from runtime.outbound.errors import (
    AddressRefusedError,
    ConnectionFailedError,
    HostBusyError,
    OutboundError,
    OutboundTimeoutError,
    ResponseTooLargeError,
)
from runtime.outbound.policy import Policy, policy
from runtime.settings import Settings
from runtime.version import VERSION

CDN_LOOP = "atelier"
"""RFC 8586: our own front door refuses what carries it."""

# Many servers close an idle connection after five seconds; a POST that meets the closing one is lost and not repeated.
_KEEPALIVE_SECONDS = 4
_RESOLVER_THREADS = 16
_DNS_CACHE_SECONDS = 10

_peer: ContextVar[str] = ContextVar("_peer", default="")


class OutboundResponse(msgspec.Struct, frozen=True):
    """`body` holds what was read, as it was sent; `truncated` says that there was more. `address` is the peer's."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool
    duration_ms: int
    address: str


class Exchange(NamedTuple):
    """`started` is `time.perf_counter()` at the beginning of the dial."""

    response: aiohttp.ClientResponse
    address: str
    started: float


class Outbound:
    """Belongs to the event loop in which it is made; `close()` it there, or use it as a context manager.

    Redirects are answers, not followed. No cookies are kept, no proxy is taken from the environment, and bodies are
    asked for and read unencoded. `total_timeout` is wall-clock seconds for the whole exchange, from the name's look-up
    to the last byte, so that a slow drip ends too; the wait for a free place at a busy host comes before it and lasts
    as long at most. `tls` is for an installation with certificate authorities of its own.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        connect_timeout: float = 5.0,
        total_timeout: float = 15.0,
        max_response: int = 64 * 1024,
        per_host: int = 16,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.policy = policy
        self.total_timeout = total_timeout
        self.max_response = max_response
        self._per_host = per_host
        self._places: weakref.WeakValueDictionary[str, asyncio.Semaphore] = weakref.WeakValueDictionary()
        self._resolver = resolver or _Resolver()
        self._session = aiohttp.ClientSession(
            connector=_Connector(
                policy,
                resolver=self._resolver,
                ttl_dns_cache=_DNS_CACHE_SECONDS,
                keepalive_timeout=_KEEPALIVE_SECONDS,
                limit=0,
                ssl=tls or True,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async def __aenter__(self) -> "Outbound":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()
        await self._resolver.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float | None = None,
        max_bytes: int | None = None,
        fail_if_larger: bool = False,
    ) -> OutboundResponse:
        """Any status is a response. Raises OutboundError, and nothing else for what the other side does."""
        limit = self.max_response if max_bytes is None else max_bytes
        async with self.exchange(method, url, headers=headers, body=body, timeout=timeout) as exchange:
            content, truncated = await _read(exchange.response, limit)
            if truncated and fail_if_larger:
                raise ResponseTooLargeError
        return OutboundResponse(
            status=exchange.response.status,
            headers=exchange.response.headers,
            body=content,
            truncated=truncated,
            duration_ms=round((time.perf_counter() - exchange.started) * 1000),
            address=exchange.address,
        )

    @contextlib.asynccontextmanager
    async def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float | None = None,
    ) -> AsyncIterator[Exchange]:
        """For callers that read the body as it comes; what is left of it is dropped with the connection."""
        seconds = self.total_timeout if timeout is None else timeout
        target = self.policy.check_url(url)
        place = await self._take_place(f"{target.raw_host}:{target.port}", seconds)
        started = time.perf_counter()
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.request(
                    method, target, headers=_headers(headers), data=body or None, allow_redirects=False
                ) as response,
            ):
                yield Exchange(response, _peer.get(), started)
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError) as error:
            raise _translated(error) from None
        finally:
            place.release()

    async def _take_place(self, host: str, seconds: float) -> asyncio.Semaphore:
        """One of the host's places: a slow host makes its own callers wait, not others'. The caller gives it back."""
        places = self._places.get(host)
        if places is None:
            places = self._places[host] = asyncio.Semaphore(self._per_host)
        try:
            async with asyncio.timeout(seconds) if places.locked() else contextlib.nullcontext():
                await places.acquire()
        except TimeoutError:
            raise HostBusyError from None
        return places


def create(settings: Settings) -> Outbound:
    return Outbound(policy(settings), total_timeout=settings.webhook_timeout)


class _RefusedAddress(OSError):
    """aiohttp tries the next address after an OSError only, and keeps this one apart if there is no other."""


class _Connector(aiohttp.TCPConnector):
    def __init__(self, policy: Policy, **options: Any) -> None:
        super().__init__(socket_factory=self._socket, **options)
        self._policy = policy

    def _socket(self, info: AddrInfoType) -> socket.socket:
        """The last step before `connect`, passed by every address however it was named or resolved."""
        family, kind, protocol, _, address = info
        try:
            self._policy.check_address(str(address[0]), int(address[1]))
        except AddressRefusedError as refusal:
            raise _RefusedAddress(str(refusal)) from None
        return socket.socket(family, kind, protocol)

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Looks at who is really there before a byte of the request is written, on a kept connection too."""
        connection = await super().connect(req, traces, timeout)
        peer = connection.transport.get_extra_info("peername") if connection.transport else None
        try:
            if not peer:
                raise ConnectionFailedError
            self._policy.check_address(peer[0], peer[1])
        except OutboundError:
            connection.close()
            raise
        _peer.set(peer[0])
        return connection


class _Resolver(AbstractResolver):
    """getaddrinfo in threads of its own: a customer's slow name server must not hold up the loop's file work."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        look_up = functools.partial(
            socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _headers(given: Mapping[str, str] | None) -> CIMultiDict[str]:
    headers = CIMultiDict(given or {})
    headers.setdefault("User-Agent", f"Atelier/{VERSION}")
    headers["Accept-Encoding"] = "identity"
    passed_by = headers.get("CDN-Loop")
    headers["CDN-Loop"] = f"{passed_by}, {CDN_LOOP}" if passed_by else CDN_LOOP
    return headers


async def _read(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > limit:
            response.close()
            return bytes(content[:limit]), True
    return bytes(content), False


# First match wins. aiohttp's own texts name hosts and addresses, so none of them is passed on.
_FAILURES: tuple[tuple[type[Exception], str, str], ...] = (
    (aiohttp.ClientConnectorDNSError, "dns_failed", "The host's name could not be resolved."),
    (aiohttp.ClientSSLError, "tls_failed", "TLS failed: the certificate or the protocol is not acceptable."),
    (aiohttp.ClientConnectorError, "connect_failed", "The host does not accept connections."),
    (aiohttp.ClientConnectionError, "connection_broken", "The connection broke before the answer was complete."),
    (Exception, "bad_response", "The answer is not valid HTTP."),
)


def _translated(error: Exception) -> OutboundError:
    if isinstance(error, TimeoutError):
        return OutboundTimeoutError()
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, _RefusedAddress):
        return AddressRefusedError()
    code, text = next((code, text) for kind, code, text in _FAILURES if isinstance(error, kind))
    return ConnectionFailedError(text, code=code)

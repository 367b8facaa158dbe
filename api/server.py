"""The API's process: both ports on one event loop, and a stop that fails no request."""

import asyncio
import contextlib
import gc
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from typing import Final

import uvicorn
import uvloop
from litestar.types import ASGIApp

from api.app import create_app
from api.dependencies import CheckSchema, Resources
from api.operator.app import create_operator_app
from domain.files import inspection
from domain.generations.backpressure import Backpressure
from domain.generations.reception import Reception
from domain.tasks.outcomes import CarryOn
from runtime import activation, failpoints
from runtime.database import Database, SystemDatabase
from runtime.encryption import Keyring
from runtime.endings import Ending
from runtime.settings import Settings
from runtime.telemetry import logs, metrics, statements, tracing
from runtime.wakeups import Hub, Moved, Nudge, Read
from runtime.watchdog import on_this_loop
from storage import signing
from storage.addresses import ObjectUrls
from storage.factory import build_store

log = logs.logger(__name__)

LINGER: Final = 2.0
"""Seconds in which connections that are kept alive may send one more request and be told to close. One that is closed
while its next request is on the way would fail that request.
"""
BACKLOG: Final = 2048
FEED_PAGE: Final = 1000

_NEWEST = "select position, organization_id, type, subject from feed order by position + 0 desc limit 1"
_AFTER = "select * from feed_after($1, $2)"


class _Server(uvicorn.Server):
    """uvicorn's, which leaves signals to whoever runs it (there are two of them in this process), and sleeps until it
    is stopped instead of looking ten times a second.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # sets the date that answers carry
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._stopped.wait()

    def stop(self) -> None:
        self.should_exit = True
        self._stopped.set()

    def stop_listening(self) -> None:
        for server in self.servers:
            server.close()

    @property
    def connections(self) -> int:
        return len(self.server_state.connections)


def run(settings: Settings, check_schema: CheckSchema, carry_on: CarryOn | None) -> Ending:
    """Until SIGTERM or SIGINT, or until the watchdog finds something. Raises WrongRoleError, KeyringError."""
    logs.configure(settings, "api")
    metrics.configure("api")
    tracing.configure(settings, "atelier-api")
    failpoints.configure(settings.failpoints, settings.failpoints_dir, "api")
    ending = uvloop.run(serve(settings, check_schema, carry_on))
    tracing.shutdown()
    return ending


async def serve(settings: Settings, check_schema: CheckSchema, carry_on: CarryOn | None) -> Ending:
    """Returns when every request that had come is answered.

    Listens on the sockets that were handed over (`runtime/activation.py`: the API's, then the operator's), else on the
    ports of the settings.
    """
    stopping = asyncio.Event()
    watchdog = on_this_loop("api", settings, stopping.set)
    public, operator = activation.listening_sockets() or [
        bind(settings.host, settings.port),
        bind(settings.host, settings.operator_port),
    ]
    async with open_resources(settings, check_schema, carry_on) as resources:
        await serve_on(public, operator, resources, stopping)
    return watchdog.ending


async def serve_on(
    public: socket.socket, operator: socket.socket, resources: Resources, stopping: asyncio.Event
) -> None:
    """Serves both apps on sockets that are bound, until `stopping` is set, and then drains."""
    api = _server(create_app(resources), resources.settings)
    inside = _server(create_operator_app(resources), resources.settings)
    serving = [asyncio.create_task(api.serve([public])), asyncio.create_task(inside.serve([operator]))]
    stop = asyncio.create_task(stopping.wait())
    watch = asyncio.create_task(metrics.watch_event_loop("api"))
    try:
        await _until_started((api, inside), serving)
        _settle_memory()
        activation.announce_ready()
        log.info("api ready", port=public.getsockname()[1], operator_port=operator.getsockname()[1])
        await asyncio.wait([stop, *serving], return_when=asyncio.FIRST_COMPLETED)
        await _drain(resources, api)
    finally:
        api.stop()
        inside.stop()
        await asyncio.gather(*serving)
        stop.cancel()
        watch.cancel()


@contextlib.asynccontextmanager
async def open_resources(
    settings: Settings, check_schema: CheckSchema | None = None, carry_on: CarryOn | None = None
) -> AsyncIterator[Resources]:
    """Raises WrongRoleError, KeyringError."""
    async with contextlib.AsyncExitStack() as cleanup:
        database = Database(settings.database_url, size=settings.database_pool_size, name="atelier-api")
        cleanup.push_async_callback(database.close)
        system = SystemDatabase(settings.database_system_url, size=2, name="atelier-operator")
        cleanup.push_async_callback(system.close)
        statements.install(database.engine, settings.slow_statement, "app")
        statements.install(system.engine, settings.slow_statement, "system")
        await database.check_role()
        await system.check_role()
        nudge = Nudge(settings)
        cleanup.push_async_callback(nudge.close)
        inspectors = inspection.open_pool(settings.data_dir / "children")
        cleanup.push_async_callback(inspectors.close)
        scratch = settings.data_dir / "scratch"
        await asyncio.to_thread(scratch.mkdir, parents=True, exist_ok=True)
        backpressure = Backpressure()
        await cleanup.enter_async_context(backpressure.kept_fresh(system))
        hub = await cleanup.enter_async_context(Hub(_feed_of(system)).running(settings))
        yield Resources(
            settings=settings,
            database=database,
            reception=Reception(database, backpressure, carry_on),
            system=system,
            store=build_store(settings),
            urls=ObjectUrls(
                base=f"{settings.public_url}/assets",
                secrets=signing.secrets(settings.signing_keys),
                ttl=timedelta(seconds=settings.asset_url_ttl),
            ),
            keyring=Keyring.from_setting(settings.encryption_keys),
            nudge=nudge,
            hub=hub,
            inspectors=inspectors,
            scratch=scratch,
            check_schema=check_schema,
        )


def bind(host: str, port: int) -> socket.socket:
    """Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _feed_of(system: SystemDatabase) -> Read:
    async def read(position: int | None) -> list[Moved]:
        if position is None:
            rows = await system.call_many(_NEWEST)
        else:
            rows = await system.call_many(_AFTER, position, FEED_PAGE)
        return [Moved(*row) for row in rows]

    return read


def _server(app: ASGIApp, settings: Settings) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout)),
        )
    )


def _settle_memory() -> None:
    """What is there by now stays: the collector need not look at it again and again, which took a sixteenth of a
    request's CPU.
    """
    gc.collect()
    gc.freeze()


async def _until_started(servers: Sequence[_Server], serving: Sequence[asyncio.Task[None]]) -> None:
    """Raises what kept one of them from starting."""
    while not all(server.started for server in servers):
        for task in serving:
            if task.done():
                task.result()
                raise RuntimeError("a server ended before it had started")
        await asyncio.sleep(0.005)


async def _drain(resources: Resources, api: _Server) -> None:
    """Not ready any more, each answer closes its connection; later no new connections, and the streams end."""
    log.info("api stops", connections=api.connections)
    failpoints.hit("api.in_drain")
    resources.draining.begun = True
    await asyncio.sleep(resources.settings.drain_seconds)
    api.stop_listening()
    resources.hub.close()
    deadline = time.monotonic() + LINGER
    while api.connections and time.monotonic() < deadline:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.02)

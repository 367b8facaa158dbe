"""A whole installation on one machine: embedded servers where none are given, migrations, and every process."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Set
from pathlib import Path

import msgspec

from cli import contract, secrets_file, seed
from migrations import roles, upgrade
from runtime import forking, forkserver
from runtime.forking import ForkServer
from runtime.processes import Process, StartError, Supervisor
from runtime.services import EmbeddedServices
from runtime.settings import PREFIX, Secret, Settings
from runtime.smtp_sink import SmtpSink
from runtime.telemetry import logs

Progress = Callable[[str], None]
DATABASE = "atelier"
COMMANDS = {
    "api": ("api",),
    "relay": ("relay",),
    "worker-images": ("worker", "--group", "images"),
    "worker-io": ("worker", "--group", "io"),
}
_WORKERS = frozenset({"worker-images", "worker-io"})
BEHIND_THE_API = _WORKERS | {"relay"}
NICENESS = 5
"""Of those: whoever asks is answered first."""
_ALL = frozenset(COMMANDS)
HOLDERS: Mapping[str, Set[str]] = {
    "database_admin_url": frozenset(),
    "database_owner_url": frozenset(),
    "database_system_url": _ALL,
    "database_url": _ALL,
    "encryption_keys": frozenset({"api", "worker-io"}),
    "operator_token": frozenset({"api"}),
    "rabbitmq_url": _WORKERS | {"relay"},
    "redis_url": _ALL,
    "signing_keys": frozenset({"api", "worker-io"}),
    "smtp_url": frozenset({"worker-io"}),
}
"""The processes that are given a secret; each secret there is has its line."""
Sockets = Mapping[str, tuple[socket.socket, ...]]
"""What each process listens on: the API on its port and the operators', the others on that of their metrics."""


class Installation:
    """Running, from `running` on. `settings` are those of its processes."""

    def __init__(
        self, settings: Settings, written: contract.Contract, supervisor: Supervisor, services: EmbeddedServices
    ) -> None:
        self.settings = settings
        self.contract = written
        self._over = False
        self._supervisor = supervisor
        self._services = services

    def pids(self) -> dict[str, int]:
        return self._services.pids() | self._supervisor.pids()

    def publish(self) -> None:
        """Writes the contract file anew, with the pids as they are: of those that do the work."""
        if not self._over:
            self.contract.pids = {name: pid for name, pid in self.pids().items() if name != forking.NAME}
            contract.write(self.settings.data_dir, self.contract)

    def retract(self) -> None:
        self._over = True
        contract.remove(self.settings.data_dir)

    async def roll(self, *names: str, env: Mapping[str, str] | None = None) -> None:
        """Replaces processes, all unless some are named, by new ones of the code as it lies there now, without failing
        a request. `env` is further environment for the lives that begin; what is started after a death goes without.
        """
        if not env and forking.NAME in self._supervisor.pids():  # what it has imported is the code as it lay there then
            await self._supervisor.roll(forking.NAME)
        for name in names or COMMANDS:
            await self._supervisor.roll(name, env)


@contextlib.asynccontextmanager
async def running(settings: Settings, progress: Progress) -> AsyncIterator[Installation]:
    """Everything is ready inside. Stops all in order at the end.

    Raises AlreadyRunningError, ServiceUnavailableError, StartError, SettingsError.
    """
    async with contextlib.AsyncExitStack() as cleanup:
        installation: Installation | None = None

        def changed() -> None:
            if installation is None:  # a life that was killed has left its file: nothing of it is true any more
                contract.remove(settings.data_dir)
            else:
                with contextlib.suppress(OSError):  # a full disk must not end the care for processes; it is told later
                    installation.publish()

        settings = msgspec.structs.replace(
            settings,
            data_dir=settings.data_dir.resolve(),
            storage_dir=settings.storage_dir.resolve(),
            mail_dir=settings.mail_dir.resolve(),
        )
        cleanup.enter_context(own_log(settings))
        services = await _services(cleanup, settings, progress, changed)
        changed()
        settings = await _complete(cleanup, settings, services)
        await _migrate(settings, progress)
        keys = await seed.demo(settings)
        sockets = _listen(cleanup, settings)
        settings = _addressed(settings, sockets["api"], progress)
        server = cleanup.enter_context(contextlib.closing(ForkServer()))
        supervisor = await cleanup.enter_async_context(Supervisor(progress, changed, server))
        await _start_forkserver(supervisor, server, settings, progress)
        await _start(supervisor, settings, sockets, progress)
        installation = Installation(settings, _contract(settings, keys, sockets), supervisor, services)
        cleanup.callback(installation.retract)
        installation.publish()
        yield installation


@contextlib.contextmanager
def own_log(settings: Settings) -> Iterator[None]:
    """What this process itself has to say (the mail sink, the servers it starts) goes beside the other logs."""
    path = settings.data_dir / "log" / "up.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    to_terminal = sys.excepthook
    with path.open("ab") as file:
        logs.configure(settings, "up", file)
        try:
            yield
        finally:
            sys.excepthook = to_terminal


async def _services(
    cleanup: contextlib.AsyncExitStack, settings: Settings, progress: Progress, changed: Callable[[], None]
) -> EmbeddedServices:
    """Also where no server of its own is wanted: it keeps a second installation out of the folder."""
    services = EmbeddedServices(
        settings.data_dir,
        progress=progress,
        changed=changed,
        postgres=not settings.database_url,
        redis=not settings.redis_url and settings.broker != "rabbitmq",
    )
    return await cleanup.enter_async_context(services)


async def _complete(cleanup: contextlib.AsyncExitStack, settings: Settings, services: EmbeddedServices) -> Settings:
    """The settings with everything filled in that this machine provides by itself."""
    made = secrets_file.load_or_make(settings.data_dir)
    values: dict[str, object] = {
        "encryption_keys": settings.encryption_keys or Secret(made.encryption_keys),
        "signing_keys": settings.signing_keys or Secret(made.signing_key),
        "operator_token": settings.operator_token or Secret(made.operator_token),
    }
    if services.endpoints.redis_url:
        values["redis_url"] = services.endpoints.redis_url
    if services.endpoints.postgres_admin_url:
        admin = services.endpoints.postgres_admin_url
        values["database_admin_url"] = admin
        for role, name in (("app", "url"), ("system", "system_url"), ("owner", "owner_url")):
            values[f"database_{name}"] = Secret(_of_role(admin, f"atelier_{role}"))
    if not settings.smtp_url:
        sink = SmtpSink(settings.mail_dir)
        values["smtp_url"] = Secret(await sink.start())
        cleanup.push_async_callback(sink.stop)
    return msgspec.structs.replace(settings, **values)


async def _migrate(settings: Settings, progress: Progress) -> None:
    progress("migrating the database")
    if settings.database_admin_url:
        await roles.create(
            settings.database_admin_url,
            owner_url=settings.database_owner_url,
            app_url=settings.database_url,
            system_url=settings.database_system_url,
        )
    progress(await asyncio.to_thread(upgrade.upgrade, settings.database_owner_url))


def _addressed(settings: Settings, sockets: tuple[socket.socket, ...], progress: Progress) -> Settings:
    port, operator_port = (each.getsockname()[1] for each in sockets)
    for wanted, got, name in ((settings.port, port, "the API"), (settings.operator_port, operator_port, "operators")):
        if wanted not in {got, 0}:
            progress(f"port {wanted} is taken; {name} will be on {got}")
    default = f"http://{settings.host}:{settings.port}"
    public_url = f"http://{settings.host}:{port}" if settings.public_url == default else settings.public_url
    return msgspec.structs.replace(settings, port=port, operator_port=operator_port, public_url=public_url)


async def _start_forkserver(supervisor: Supervisor, server: ForkServer, settings: Settings, progress: Progress) -> None:
    """It is given none of our settings: whoever has it read memory finds no secret there."""
    if not forkserver.possible():
        return
    modules = ["cli.unburdened", *sorted({f"cli.{command}" for command, *_ in COMMANDS.values()})]
    try:
        await supervisor.start(
            Process(
                name=forking.NAME,
                argv=(sys.executable, "-m", "runtime.forkserver", *modules),
                log=settings.data_dir / "log" / f"{forking.NAME}.log",
                env={name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
                stop_signal=signal.SIGKILL,  # it has nothing to put in order
                sockets=(server.theirs,),
            )
        )
    except StartError as error:
        progress(f"{error}; without it each process starts by itself")


async def _start(supervisor: Supervisor, settings: Settings, sockets: Sockets, progress: Progress) -> None:
    """All processes at once."""
    progress("starting the API, the relay and two workers")
    await supervisor.start(
        *(
            Process(
                name=name,
                argv=(sys.executable, "-m", "cli.main", *command),
                log=settings.data_dir / "log" / f"{name}.log",
                env=dict(os.environ) | to_environment(settings) | _withheld(name),
                sockets=sockets[name],
                niceness=NICENESS if name in BEHIND_THE_API else 0,
                forked=True,
            )
            for name, command in COMMANDS.items()
        )
    )


def to_environment(settings: Settings) -> dict[str, str]:
    """The settings as `ATELIER_…` variables, for child processes."""
    values = {name: getattr(settings, name) for name in Settings.__struct_fields__}
    return {
        f"{PREFIX}{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
        if value not in ("", Path())
    }


def _withheld(process: str) -> dict[str, str]:
    """Empty, so that neither this process's environment nor `.env` gives them to the other."""
    return {f"{PREFIX}{name.upper()}": "" for name, holders in HOLDERS.items() if process not in holders}


def _contract(settings: Settings, keys: secrets_file.DemoKeys, sockets: Sockets) -> contract.Contract:
    metrics_ports = [each[-1].getsockname()[1] for each in sockets.values()]
    return contract.Contract(
        base_url=f"http://{settings.host}:{settings.port}",
        operator_url=f"http://{settings.host}:{settings.operator_port}",
        operator_token=str(settings.operator_token),
        api_key=keys.api_key,
        second_api_key=keys.second_api_key,
        metrics_urls=[f"http://{settings.host}:{port}/metrics" for port in metrics_ports],
        database_url=str(settings.database_system_url),
        redis_url=str(settings.redis_url),
        rabbitmq_url=str(settings.rabbitmq_url) if settings.broker == "rabbitmq" else "",
        mail_dir=str(settings.mail_dir),
        storage_dir=str(settings.storage_dir),
        pids={},
    )


def _listen(cleanup: contextlib.AsyncExitStack, settings: Settings) -> Sockets:
    """Bound here and handed over, so that a process that is replaced, or dies and comes again, keeps its ports."""

    def bind(port: int) -> socket.socket:
        return cleanup.enter_context(_bind(settings.host, port))

    sockets: dict[str, tuple[socket.socket, ...]] = {}
    last = bind(settings.operator_port)
    for name in COMMANDS:
        if name == "api":
            sockets[name] = (bind(settings.port), last)
        else:
            last = bind(last.getsockname()[1] + 1)
            sockets[name] = (last,)
    return sockets


def _bind(host: str, port: int) -> socket.socket:
    """Bound and listening, on the port or on the next free one."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, _free_port(host, port) if port else 0))
    listener.listen(2048)
    return listener


def _free_port(host: str, first: int) -> int:
    for port in range(first, first + 200):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((host, port))
                return port
    raise OSError(f"no free port from {first} on")


def _of_role(admin_url: str, role: str) -> str:
    """`postgresql://postgres@/postgres?host=…` for another role of our database."""
    head, _, query = admin_url.partition("?")
    return f"{head.split('://', 1)[0]}://{role}@/{DATABASE}?{query}"

"""An installation on several hosts: servers, API, mail and receivers here, workers and relays on the hosts."""

import asyncio
import contextlib
import dataclasses
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bench.rabbitmq_server import RabbitmqServer
from bench.scaling.network import Host, Network
from cli import installation, secrets_file
from migrations import roles, upgrade
from runtime.embedded import place as places
from runtime.embedded import postgres, redis
from runtime.embedded.place import Place
from runtime.processes import Process, Progress, Supervisor
from runtime.settings import Secret, Settings
from runtime.smtp_sink import SmtpSink

API_PORT: Final = 8000
OPERATOR_PORT: Final = 8001
REDIS_PORT: Final = 6379
METRICS_PORTS: Final = {"relay": 9100, "images": 9101, "io": 9102}
RELAYS: Final = 2
"""Hosts that have one; the first of them leads."""


class Reached(NamedTuple):
    base_url: str


class Site:
    """`settings` are those of the processes here."""

    def __init__(self, settings: Settings, hosts: Sequence[Host]) -> None:
        self.settings = settings
        self.hosts = hosts
        self.contract = Reached(settings.public_url)

    def metrics_urls(self) -> list[str]:
        """Of the workers, by the addresses of their hosts."""
        ports = (METRICS_PORTS["images"], METRICS_PORTS["io"])
        return [f"http://{host.address}:{port}/metrics" for host in self.hosts for port in ports]


@contextlib.asynccontextmanager
async def standing(
    given: Settings, network: Network, hosts: Sequence[Host], folder: Path, progress: Progress
) -> AsyncIterator[Site]:
    """Everything is ready inside. Raises MissingPackageError, ServiceUnavailableError, StartError."""
    async with contextlib.AsyncExitStack() as cleanup:
        cleanup.enter_context(installation.own_log(msgspec.structs.replace(given, data_dir=folder / "var")))
        supervisor = await cleanup.enter_async_context(Supervisor(progress))
        sink = SmtpSink(folder / "var/mail", network.address)
        secrets = secrets_file.load_or_make(folder / "var")
        settings = msgspec.structs.replace(
            given,
            data_dir=folder / "var",
            storage_dir=folder / "var/storage",
            mail_dir=folder / "var/mail",
            host=network.address,
            port=API_PORT,
            operator_port=OPERATOR_PORT,
            public_url=f"http://{network.address}:{API_PORT}",
            smtp_url=Secret(await sink.start()),
            encryption_keys=Secret(secrets.encryption_keys),
            signing_keys=Secret(secrets.signing_key),
            operator_token=Secret(secrets.operator_token),
            outbound_allow=network.range,
            webhook_insecure_http=True,
            **await _database(supervisor, network, folder),
            **await _broker(cleanup, supervisor, given, network, folder),
        )
        cleanup.push_async_callback(sink.stop)
        await roles.create(
            settings.database_admin_url,
            owner_url=settings.database_owner_url,
            app_url=settings.database_url,
            system_url=settings.database_system_url,
        )
        await asyncio.to_thread(upgrade.upgrade, settings.database_owner_url)
        await supervisor.start(_process("api", ("api",), settings, folder), *_on_hosts(settings, hosts, folder))
        yield Site(settings, hosts)


async def _database(supervisor: Supervisor, network: Network, folder: Path) -> dict[str, Secret]:
    """As the embedded one, but on the network."""
    programs = postgres.find_programs(folder / "postgres")
    server = postgres.Postgres(programs, await _place(folder, "postgres", programs.path("postgres")))
    await server.prepare(lambda _: None)
    with (folder / "postgres/pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {network.range} trust\n")
    local = server.process()
    argv = (*local.argv, "-c", f"listen_addresses={network.address}")
    await supervisor.start(dataclasses.replace(local, argv=argv))
    where = f"{network.address}:{postgres.PORT}"
    of_roles = {"database_url": "app", "database_system_url": "system", "database_owner_url": "owner"}
    return {
        "database_admin_url": Secret(f"postgresql://{postgres.SUPERUSER}@{where}/postgres"),
        **{name: Secret(f"postgresql://atelier_{role}@{where}/atelier") for name, role in of_roles.items()},
    }


async def _broker(
    cleanup: contextlib.AsyncExitStack, supervisor: Supervisor, given: Settings, network: Network, folder: Path
) -> dict[str, Secret]:
    if given.broker == "rabbitmq":
        place = folder / "rabbitmq"
        place.mkdir()
        rabbitmq = RabbitmqServer(place, network.address)
        cleanup.callback(rabbitmq.close)
        rabbitmq.launch()
        await asyncio.to_thread(rabbitmq.wait_until_ready)
        return {"rabbitmq_url": Secret(rabbitmq.url)}
    program = redis.find_program()
    server = redis.Redis(program, await _place(folder, "redis", program))
    server.prepare()
    local = server.process()
    on_network = ("--port", str(REDIS_PORT), "--bind", network.address, "--protected-mode", "no")
    await supervisor.start(dataclasses.replace(local, argv=(*local.argv, *on_network)))
    return {"redis_url": Secret(f"redis://{network.address}:{REDIS_PORT}/0")}


async def _place(folder: Path, name: str, program: Path) -> Place:
    log, run = folder / "var/log" / f"{name}.log", folder / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    identity = await places.choose_identity(program, log)
    found = Place(data=folder / name, run=run, log=log, identity=identity, fsync=True, kept=())
    found.own(run)
    return found


def _on_hosts(settings: Settings, hosts: Sequence[Host], folder: Path) -> list[Process]:
    made = []
    for number, host in enumerate(hosts):
        commands: dict[str, tuple[str, ...]] = {
            "images": ("worker", "--group", "images"),
            "io": ("worker", "--group", "io"),
        }
        if number < RELAYS:
            commands = {"relay": ("relay",)} | commands
        for name, command in commands.items():
            own = msgspec.structs.replace(
                settings,
                data_dir=folder / host.name,
                host=host.address,
                metrics_port=METRICS_PORTS[name],
                database_pool_size=5,
                image_workers=1,
            )
            made.append(_process(f"{name}-{host.name}", command, own, folder, host))
    return made


def _process(name: str, command: Sequence[str], settings: Settings, folder: Path, host: Host | None = None) -> Process:
    argv = (sys.executable, "-m", "cli.main", *command)
    return Process(
        name=name,
        argv=host.command(*argv) if host else argv,
        log=folder / "var/log" / f"{name}.log",
        env=dict(os.environ) | installation.to_environment(settings),
    )

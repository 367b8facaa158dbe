"""What tests share: one PostgreSQL, Redis and RabbitMQ per test process, one fresh, migrated database per test."""

import asyncio
import base64
import contextlib
import itertools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import hypothesis
import pytest
import redis
import structlog

from bench.rabbitmq_server import MissingPackageError, RabbitmqServer
from migrations import roles, upgrade
from queue_config.errors import BrokerUnavailableError
from queue_config.queues import QUEUES
from queue_config.rabbitmq_broker import RabbitmqBroker
from runtime.database import Database, SystemDatabase
from runtime.services import EmbeddedServices
from runtime.settings import Secret, Settings

hypothesis.settings.register_profile("busy", suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")
"""Examples may be slow to draw on a machine that has other things to do; that is no fault of the test's."""

structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
"""Its own default draws tracebacks with colours and local variables, at a second each."""

TEMPLATE = "atelier_template"
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 2 * 1024**3


@dataclass(frozen=True)
class Servers:
    """Running servers; the database `atelier_template` is migrated and to be copied, never to be used."""

    admin_url: str
    redis_url: str

    def database_url(self, role: str, name: str) -> Secret:
        parts = urlsplit(self.admin_url)
        return Secret(urlunsplit(parts._replace(netloc=f"{role}@", path=f"/{name}")))


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="atelier-", dir=quickest_place()) as folder, asyncio.Runner() as runner:
        embedded = EmbeddedServices(Path(folder), progress=lambda _: None, fsync=False)
        runner.run(embedded.start())
        try:
            found = Servers(embedded.endpoints.postgres_admin_url, embedded.endpoints.redis_url)
            runner.run(_create_roles(found))
            upgrade.upgrade(found.database_url(roles.OWNER, TEMPLATE))
            yield found
        finally:
            runner.run(embedded.stop())


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitmqServer]:
    """Running, with whatever the last test has left in its queues; who harms it mends it."""
    with tempfile.TemporaryDirectory(prefix="atelier-", dir=quickest_place()) as folder:
        try:
            server = RabbitmqServer(Path(folder))
        except MissingPackageError as missing:
            pytest.skip(str(missing))
        server.start()
        yield server
        server.close()


@pytest.fixture
def rabbitmq(rabbitmq_server: RabbitmqServer) -> RabbitmqServer:
    """With empty queues that can be used. A server that a test has killed may come back with a queue that has no leader
    for minutes; such a one starts over with nothing, so that one test's harm is not every test's.
    """
    if not _queues_serve(rabbitmq_server):
        rabbitmq_server.kill()
        rabbitmq_server.forget()
        rabbitmq_server.start()
    return rabbitmq_server


def _queues_serve(server: RabbitmqServer) -> bool:
    broker = RabbitmqBroker(server.url, QUEUES)
    try:
        for _ in range(10):
            with contextlib.suppress(BrokerUnavailableError):
                broker.flush_all()
                return True
            time.sleep(0.5)
        return False
    finally:
        broker.close()


def quickest_place() -> Path | None:
    """Copying a database makes hundreds of files: 10 ms in memory, up to 400 on a disk."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED:
        return MEMORY
    return None


async def _create_roles(servers: Servers) -> None:
    owner, app, system = (servers.database_url(role, TEMPLATE) for role in (roles.OWNER, roles.APP, roles.SYSTEM))
    await roles.create(servers.admin_url, owner_url=owner, app_url=app, system_url=system)


_numbers = itertools.count()


@pytest.fixture
async def admin(servers: Servers) -> AsyncIterator[asyncpg.Connection]:
    """As the superuser, in no test's database."""
    connection = await asyncpg.connect(servers.admin_url)
    yield connection
    await connection.close()


@pytest.fixture
async def database_name(admin: asyncpg.Connection) -> AsyncIterator[str]:
    name = f"test_{next(_numbers)}"
    await admin.execute(f"create database {name} template {TEMPLATE} owner {roles.OWNER} strategy file_copy")
    yield name
    await admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def settings(servers: Servers, database_name: str, tmp_path: Path) -> Settings:
    """Of a whole installation of this test's own, on servers that all tests share."""
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushall()
    return Settings(
        data_dir=tmp_path / "var",
        port=0,
        operator_port=0,
        database_url=servers.database_url(roles.APP, database_name),
        database_system_url=servers.database_url(roles.SYSTEM, database_name),
        database_owner_url=servers.database_url(roles.OWNER, database_name),
        database_pool_size=5,
        redis_url=Secret(servers.redis_url),
        operator_token=Secret("an-operator-token-of-tests"),
        encryption_keys=Secret(f"k1:{base64.b64encode(bytes(range(32))).decode()}"),
        signing_keys=Secret("a-signing-key-of-tests-that-is-long-enough"),
    )


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """As atelier_app."""
    pool = Database(settings.database_url, size=settings.database_pool_size, name="test-app")
    yield pool
    await pool.close()


@pytest.fixture
async def system(settings: Settings) -> AsyncIterator[SystemDatabase]:
    """As atelier_system."""
    pool = SystemDatabase(settings.database_system_url, size=settings.database_pool_size, name="test-system")
    yield pool
    await pool.close()

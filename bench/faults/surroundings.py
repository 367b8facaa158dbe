"""What stands around the processes of a round: PostgreSQL, Redis or RabbitMQ, and the receivers of their webhooks, each
reached over a Link of its own; and their disk. The harness itself, and the audit, reach the servers directly.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

from bench.faults import proxy
from bench.faults.proxy import Link
from bench.faults.wire import Conversation, Writes
from bench.rabbitmq_server import RabbitmqServer
from runtime import database
from runtime.embedded import postgres, redis
from runtime.services import EmbeddedServices
from runtime.settings import Secret, Settings

DATABASE = "atelier"
_FUNCTIONS = """
    select proname from pg_proc where pronamespace = 'public'::regnamespace and provolatile = 'v' and prokind = 'f'
"""
"""Those that may write: the others are declared stable, or immutable."""


class Surroundings:
    """`settings` lead over the links, `direct` past them. `links` are those of postgres, redis or rabbitmq, and of the
    receiver.
    """

    def __init__(
        self,
        settings: Settings,
        direct: Settings,
        links: Mapping[str, Link],
        services: EmbeddedServices,
        writes: Writes,
        rabbitmq: RabbitmqServer | None,
    ) -> None:
        self.settings = settings
        self.direct = direct
        self.links = links
        self.rabbitmq = rabbitmq
        self._services = services
        self._writes = writes

    def pids(self) -> dict[str, int]:
        """Of the servers."""
        return self._services.pids()

    async def learn(self) -> None:
        """Which functions write, once there are any: an ambush waits for those."""
        connection = await database.connect(self.direct.database_system_url, name="atelier-faults")
        try:
            self._writes.learn(row[0] for row in await connection.fetch(_FUNCTIONS))
        finally:
            await connection.close()


@contextlib.asynccontextmanager
async def standing(
    settings: Settings, folder: Path, receiver_port: int, progress: Callable[[str], None]
) -> AsyncIterator[Surroundings]:
    """The servers' data is in `folder`. Raises MissingPackageError, ServiceUnavailableError, StartError."""
    async with contextlib.AsyncExitStack() as cleanup:
        broker = settings.broker
        services = await cleanup.enter_async_context(
            EmbeddedServices(folder / "servers", progress=progress, redis=broker == "redis")
        )
        rabbitmq = await _rabbitmq(cleanup, folder) if broker == "rabbitmq" else None
        writes = Writes()
        admin = services.endpoints.postgres_admin_url
        sockets = Path(parse_qs(urlsplit(admin).query)["host"][0])
        links = {
            "postgres": Link(proxy.over_unix(f"{sockets / postgres.SOCKET}"), lambda: Conversation(writes)),
            broker: Link(_reach(rabbitmq.url) if rabbitmq else proxy.over_unix(f"{sockets / redis.SOCKET}")),
            "receiver": Link(proxy.over_tcp(receiver_port)),
        }
        for link in links.values():
            await link.open()
            cleanup.push_async_callback(link.close)
        direct = msgspec.structs.replace(
            settings,
            database_admin_url=admin,
            redis_url=services.endpoints.redis_url,
            rabbitmq_url=Secret(rabbitmq.url if rabbitmq else ""),
            **_of_roles(f"/{DATABASE}?{urlsplit(admin).query}"),
        )
        over_links = msgspec.structs.replace(
            direct,
            redis_url=Secret("" if rabbitmq else f"redis://127.0.0.1:{links[broker].port}/0"),
            rabbitmq_url=Secret(f"amqp://127.0.0.1:{links[broker].port}/" if rabbitmq else ""),
            **_of_roles(f"127.0.0.1:{links['postgres'].port}/{DATABASE}"),
        )
        yield Surroundings(over_links, direct, links, services, writes, rabbitmq)


def _of_roles(place: str) -> dict[str, Secret]:
    roles = {"database_url": "app", "database_system_url": "system", "database_owner_url": "owner"}
    return {name: Secret(f"postgresql://atelier_{role}@{place}") for name, role in roles.items()}


def _reach(url: str) -> proxy.Reach:
    port = urlsplit(url).port
    assert port is not None
    return proxy.over_tcp(port)


async def _rabbitmq(cleanup: contextlib.AsyncExitStack, folder: Path) -> RabbitmqServer:
    place = folder / "rabbitmq"
    place.mkdir()
    server = RabbitmqServer(place)
    cleanup.callback(server.close)
    server.launch()
    await asyncio.to_thread(server.wait_until_ready)
    return server

"""PostgreSQL behind a network that a test can harm."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

from bench.faults import proxy
from bench.faults.proxy import Link
from bench.faults.wire import Conversation, Writes
from runtime.embedded import postgres
from runtime.settings import Secret, Settings
from tests.conftest import Servers

WRITING = (
    "accept_and_dispatch",
    "accept_generation",
    "accept_generations",
    "claim_and_start",
    "claim_tasks",
    "record_and_tell_images",
    "record_images",
    "relay_step",
    "mark",
)
"""Functions whose commits a link knows to lose."""


@contextlib.asynccontextmanager
async def to_postgresql(servers: Servers) -> AsyncIterator[Link]:
    writes = Writes()
    writes.learn(WRITING)
    folder = parse_qs(urlsplit(servers.admin_url).query)["host"][0]
    link = Link(proxy.over_unix(str(Path(folder) / postgres.SOCKET)), lambda: Conversation(writes))
    await link.open()
    try:
        yield link
    finally:
        await link.close()


def through(link: Link, settings: Settings, database_name: str) -> Settings:
    """The settings of a test, with PostgreSQL behind the link."""
    place = f"127.0.0.1:{link.port}/{database_name}"
    return msgspec.structs.replace(
        settings,
        database_url=Secret(f"postgresql://atelier_app@{place}"),
        database_system_url=Secret(f"postgresql://atelier_system@{place}"),
    )

"""The tools of each worker group: it holds what its actors ask for, and no secret beyond that."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from domain.generations import batches, engines
from domain.generations.engines import template as template_engine
from domain.notifications.channels.email import EmailChannel
from domain.webhooks.lanes import SlowEndpoints
from queue_config.base import MessageBroker
from queue_config.queues import Group
from runtime import outbound
from runtime.batching import Batcher
from runtime.children import ChildPool
from runtime.database import Database, SystemDatabase
from runtime.encryption import Keyring
from runtime.outbound import Outbound
from runtime.settings import Settings
from storage import signing
from storage.addresses import ObjectUrls
from storage.factory import build_store
from workers import carrying_on
from workers.batches import LARGEST
from workers.describing import describer, many_describer
from workers.tools import Tools


@contextlib.asynccontextmanager
async def opened(
    settings: Settings, database: Database, system: SystemDatabase, group: Group, broker: MessageBroker
) -> AsyncIterator[Tools]:
    """Raises KeyringError, ChildDiedError."""
    client = outbound.create(settings)
    try:
        if group == "io":
            yield _io(settings, database, system, client)
            return
        async with _renderers(settings) as renderers:
            yield _images(settings, system, client, renderers, broker)
    finally:
        await client.close()


def _images(
    settings: Settings, system: SystemDatabase, client: Outbound, renderers: ChildPool, broker: MessageBroker
) -> Tools:
    return Tools(
        settings=settings,
        store=build_store(settings),
        outbound=client,
        system=system,
        renderers=renderers,
        find_image=Batcher(functools.partial(batches.find, system), largest=LARGEST),
        carry_on=carrying_on.to_webhooks(broker),
    )


def _io(settings: Settings, database: Database, system: SystemDatabase, client: Outbound) -> Tools:
    urls = ObjectUrls(
        base=f"{settings.public_url}/assets",
        secrets=signing.secrets(settings.signing_keys),
        ttl=timedelta(seconds=settings.sent_url_ttl),
    )
    return Tools(
        settings=settings,
        store=build_store(settings),
        outbound=client,
        system=system,
        database=database,
        keyring=Keyring.from_setting(settings.encryption_keys),
        mail=EmailChannel(settings.smtp_url),
        describe=describer(urls),
        describe_many=many_describer(urls),
        slow_endpoints=SlowEndpoints(system),
    )


@contextlib.asynccontextmanager
async def _renderers(settings: Settings) -> AsyncIterator[ChildPool]:
    """Warm."""
    scratch = engines.scratch(settings)
    await asyncio.to_thread(scratch.mkdir, parents=True, exist_ok=True)
    await asyncio.to_thread(engines.sweep, scratch)
    packs = settings.fonts_dir if settings.fonts_dir != Path() else None
    children = settings.data_dir / "children"
    pool = template_engine.open_pool(size=settings.image_workers, scratch=children, packs=packs)
    try:
        await pool.warm()
        yield pool
    finally:
        await pool.close()

"""What keeps a worker from doing its work just now; asked by whoever decides what to start, stop or wait for."""

import asyncio
from typing import Final

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from queue_config.base import MessageBroker
from queue_config.errors import BrokerUnavailableError
from runtime.children import ChildPool
from workers.execution import Executor

_FAULTS: Final = (OSError, TimeoutError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError)


async def hindrance(executor: Executor, broker: MessageBroker, renderers: ChildPool | None) -> str | None:
    if executor.stopping:
        return "it stops"
    if renderers is not None and not renderers.is_warm:
        return "no render child is warm"
    try:
        await executor.try_claim()
    except _FAULTS as error:
        return f"nothing can be claimed: {type(error).__name__}"
    try:
        await asyncio.to_thread(broker.check)
    except BrokerUnavailableError:
        return "the broker is away"
    return None

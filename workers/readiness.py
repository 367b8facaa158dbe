"""What keeps a worker from doing its work just now; asked by whoever decides what to start, stop or wait for."""

import asyncio

from queue_config.base import MessageBroker
from queue_config.errors import BrokerUnavailableError
from runtime import database_faults
from runtime.children import ChildPool
from workers.execution import Executor


async def hindrance(executor: Executor, broker: MessageBroker, renderers: ChildPool | None) -> str | None:
    if executor.stopping:
        return "it stops"
    if renderers is not None and not renderers.is_warm:
        return "no render child is warm"
    try:
        await executor.try_claim()
    except (*database_faults.ANY, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not database_faults.is_disconnect(error):
            raise
        return f"nothing can be claimed: {type(error).__name__}"
    try:
        await asyncio.to_thread(broker.check)
    except BrokerUnavailableError:
        return "the broker is away"
    return None

"""From an image straight to its webhooks: their tasks are sent on by the process that has recorded it, which saves the
way over the relay.

It holds no key and sends no webhook; it tells the workers who do. Whatever it does not send, the relay does.
"""

import asyncio
from collections.abc import Sequence

import dramatiq
import msgspec

from domain.generations.events import GenerationSucceeded
from queue_config.base import MessageBroker
from queue_config.errors import BrokerUnavailableError
from runtime import failpoints
from runtime.telemetry import logs, metrics
from workers import reactions
from workers.actors import webhooks

log = logs.logger(__name__)

CARRIED_ON = metrics.counter(
    "atelier_tasks_carried_on_total", "Tasks that were sent on by the process that made them due.", ["actor"]
)


class WebhooksOfImages:
    """`CarryOn` (`domain/tasks/outcomes.py`). Lives on the event loop of the actors."""

    def __init__(self, broker: MessageBroker) -> None:
        self._broker = broker
        self._actor = webhooks.deliver
        self._sending: set[asyncio.Future[None]] = set()
        self.room = self._actor.queue.window // 2
        [row] = [
            row
            for row in reactions.rows()
            if (row["event"], row["actor"]) == (GenerationSucceeded.type, self._actor.name)
        ]
        self.reaction = msgspec.json.encode(row).decode()

    def send(self, tasks: Sequence[int]) -> None:
        failpoints.hit("worker.before_carry_on")
        sending = asyncio.get_running_loop().run_in_executor(None, self._send, list(tasks))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    def _send(self, tasks: list[int]) -> None:
        queue = self._actor.queue
        parts = [
            tasks[start : start + queue.tasks_per_message] for start in range(0, len(tasks), queue.tasks_per_message)
        ]
        try:
            self._broker.enqueue_many(
                [
                    dramatiq.Message(
                        queue_name=queue.name, actor_name=self._actor.name, args=(part,), kwargs={}, options={}
                    )
                    for part in parts
                ]
            )
        except BrokerUnavailableError:
            log.warning("the broker is away; webhooks wait for the relay", tasks=len(tasks))
        else:
            CARRIED_ON.labels(self._actor.name).inc(len(tasks))

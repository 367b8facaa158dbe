"""Past the relay, where nobody waits: tasks are sent on by the process whose commit has made them due, from an accept
straight to a worker who draws, and from an image straight to its webhooks. It saves the way over the relay.

An API process asks no worker for anything by this, and needs no broker: whatever is not sent, the relay sends.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from domain.events.base import Event
from domain.generations.events import GenerationAccepted, GenerationSucceeded
from queue_config import messages
from queue_config.base import AHEAD, IN_TURN, MessageBroker
from runtime.telemetry import logs, metrics
from workers import reactions, windows
from workers.actor import Actor
from workers.actors import generations, webhooks

log = logs.logger(__name__)

BROKER_REST: Final = 1.0
"""Seconds for which all is left to the relay after the broker has not taken a message."""
AT_ONCE: Final = 4
"""Messages under way to the broker. It takes them in a moment, or it is not well."""
CARRIED_ON = metrics.counter(
    "atelier_tasks_carried_on_total", "Tasks that were sent on by the process that made them due.", ["actor"]
)


class Onward:
    """`CarryOn` (`domain/tasks/outcomes.py`) from one event to one actor. Lives on one event loop."""

    def __init__(self, broker: MessageBroker, event: type[Event], actor: Actor, *, room: int) -> None:
        self._broker = broker
        self._actor = actor
        self._room = room
        self._broker_rests_until = 0.0
        self._sending: set[asyncio.Future[None]] = set()
        [row] = [row for row in reactions.rows() if (row["event"], row["actor"]) == (event.type, actor.name)]
        self.reaction = msgspec.json.encode(row).decode()

    @property
    def room(self) -> int:
        resting = time.monotonic() < self._broker_rests_until or len(self._sending) >= AT_ONCE
        return 0 if resting else self._room

    def send(self, tasks: Sequence[int], *, ahead: bool = False) -> None:
        sending = asyncio.get_running_loop().run_in_executor(None, self._send, tasks, AHEAD if ahead else IN_TURN)
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    def _send(self, tasks: Sequence[int], options: Mapping[str, Any]) -> None:
        try:
            self._broker.enqueue_many(list(messages.of_tasks(self._actor.queue, self._actor.name, tasks, options)))
        except Exception as error:  # noqa: BLE001 - nobody waits for it, so what breaks here is said here
            self._broker_rests_until = time.monotonic() + BROKER_REST
            kind = type(error).__name__
            log.warning("tasks wait for the relay", actor=self._actor.name, tasks=len(tasks), error=kind)
        else:
            CARRIED_ON.labels(self._actor.name).inc(len(tasks))


def to_webhooks(broker: MessageBroker) -> Onward:
    """From an image. Whoever has recorded it holds no key and sends no webhook: it tells the workers who do."""
    return Onward(broker, GenerationSucceeded, webhooks.deliver, room=webhooks.deliver.queue.window // 2)


def to_images(broker: MessageBroker) -> Onward:
    """From an accept, while not even half of the smallest window is on its way."""
    return Onward(broker, GenerationAccepted, generations.render, room=windows.LEAST // 2)

"""Starting and stopping Dramatiq's worker inside a process of ours (its command line is not used)."""

import contextlib
import queue

import dramatiq
from dramatiq.asyncio import get_event_loop_thread

from queue_config.base import MessageBroker
from queue_config.queues import Group, of_group

IDLE_WAIT_MS = 250
"""How long idle threads and consumers wait before they look whether they should stop."""


def start(broker: MessageBroker, group: Group, threads: int) -> dramatiq.Worker:
    """Serves the group's queues with `threads` messages at once, and holds no message that has no thread.
    Raises EventLoopError when a hook fails.
    """
    names = {declared.name for declared in of_group(group)}
    worker = dramatiq.Worker(broker, queues=names, worker_timeout=IDLE_WAIT_MS, worker_threads=threads)
    worker.queue_prefetch = threads
    worker.start()
    return worker


def stop(worker: dramatiq.Worker, timeout: float) -> None:
    """`stop_taking`, then waits up to `timeout` seconds for what runs. Blocks: from a loop, call it in a thread."""
    stop_taking(worker)
    worker.stop(timeout=int(timeout * 1000))


def stop_taking(worker: dramatiq.Worker) -> None:
    """Takes no more messages and gives back those not begun; what runs goes on."""
    for consumer in worker.consumers.values():
        consumer.stop()
    waiting = _drain(worker)
    for name, consumer in worker.consumers.items():
        if consumer.consumer is not None:
            consumer.requeue_messages(waiting.get(name, ()))


def ailment(worker: dramatiq.Worker) -> str | None:
    """Why a worker that runs should be started anew, for its liveness probe: a thread of it has died."""
    dead = [name for name, consumer in worker.consumers.items() if not consumer.is_alive()]
    if dead:
        return f"nothing takes messages from {', '.join(sorted(dead))}"
    if not all(thread.is_alive() for thread in worker.workers):
        return "a thread that carries out messages has died"
    loop = get_event_loop_thread()
    return "the event loop has died" if loop and not loop.is_alive() else None


def _drain(worker: dramatiq.Worker) -> dict[str, list[dramatiq.broker.MessageProxy]]:
    waiting: dict[str, list[dramatiq.broker.MessageProxy]] = {}
    with contextlib.suppress(queue.Empty):
        while True:
            message = worker.work_queue.get_nowait().message
            waiting.setdefault(message.queue_name, []).append(message)
    return waiting

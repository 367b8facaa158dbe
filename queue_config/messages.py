"""Tasks into messages: what their queue allows together, to one actor."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dramatiq

from queue_config.base import IN_TURN
from queue_config.queues import Queue


def of_tasks(
    queue: Queue, actor: str, tasks: Sequence[int], options: Mapping[str, Any] = IN_TURN
) -> Iterator[dramatiq.Message[Any]]:
    """`actor` is what the workers call it in this queue."""
    for start in range(0, len(tasks), queue.tasks_per_message):
        args = (list(tasks[start : start + queue.tasks_per_message]),)
        yield dramatiq.Message(queue_name=queue.name, actor_name=actor, args=args, kwargs={}, options=dict(options))

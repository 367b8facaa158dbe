"""Every queue there is, and which worker group serves it."""

from dataclasses import dataclass
from typing import Final, Literal

Group = Literal["images", "io"]


@dataclass(frozen=True, slots=True)
class Queue:
    """`priority` orders what one process has at hand: the lower number goes first. `time_limit` is in seconds, for one
    task. `share` is the part of a worker's threads that messages of this queue may hold at once, running or waiting:
    below 1, the queue always leaves threads to its neighbours. `window` is how many of its tasks may be dispatched and
    unclaimed at once: small, so that the order is decided late; it is the rate limit too (window / time to claim).
    `wait`: the window shrinks to what is taken up in so many seconds, so that nobody waits behind others for longer.
    `capped`: a plan's bound on how many tasks of one organization are on their way or running holds in this queue.
    """

    name: str
    group: Group
    priority: int
    tasks_per_message: int
    time_limit: float
    window: int
    share: float = 1.0
    wait: float = 0
    capped: bool = False


# A render keeps a core busy for milliseconds or for seconds, and nobody knows which beforehand. Two tasks per message
# keep each render child fed (one runs, one is claimed and ready to start) and leave all the others to other workers.
IMAGES: Final = Queue(
    "images", "images", priority=0, tasks_per_message=2, time_limit=120, window=400, wait=0.025, capped=True
)
# Short transactions that others wait for: never behind a slow receiver or mail server.
LIFECYCLE: Final = Queue("lifecycle", "io", priority=0, tasks_per_message=16, time_limit=30, window=200)
WEBHOOKS: Final = Queue("webhooks", "io", priority=10, tasks_per_message=50, time_limit=60, window=400, share=0.5)
MAIL: Final = Queue("mail", "io", priority=20, tasks_per_message=20, time_limit=60, window=200, share=0.25)

QUEUES: Final = (IMAGES, LIFECYCLE, WEBHOOKS, MAIL)
BY_NAME: Final = {queue.name: queue for queue in QUEUES}


def of_group(group: Group) -> tuple[Queue, ...]:
    return tuple(queue for queue in QUEUES if queue.group == group)

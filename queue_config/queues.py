"""Every queue there is, and which worker group serves it."""

from dataclasses import dataclass
from typing import Final, Literal

Group = Literal["images", "io"]


@dataclass(frozen=True, slots=True)
class Lane:
    """One of two queues that share a work: the relay moves tasks between them as it dispatches. `struggling` is an SQL
    function that picks those for the `slow` one out of tasks (bigint[]) → setof bigint.
    """

    other: str
    slow: bool
    struggling: str


@dataclass(frozen=True, slots=True)
class Queue:
    """`priority` orders what one process has at hand: the lower number goes first. `time_limit` is in seconds, for one
    task. `share` is the part of a worker's threads that messages of this queue may hold at once, running or waiting:
    below 1, the queue always leaves threads to its neighbours. `window` is how many of its tasks may be dispatched and
    unclaimed at once, those apart that go ahead: small, so that the order is decided late; it is the rate limit too
    (window / time to claim).
    `wait`: the window shrinks to what is taken up in so many seconds, so that nobody waits behind others for longer.
    `hold`: the messages that a worker holds at once are as many as it deals with in so many seconds (`slots.py`).
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
    hold: float = 0
    capped: bool = False
    lane: Lane | None = None


# A render keeps a core busy for milliseconds or for seconds, and nobody knows which beforehand. Two tasks per message
# keep each render child fed (one runs, one is claimed and ready to start) and leave all the others to other workers. As
# long as they turn out quick, a worker takes more of them, so that their statements go together.
IMAGES: Final = Queue(
    "images", "images", priority=0, tasks_per_message=2, time_limit=120, window=400, wait=0.05, hold=0.2, capped=True
)
# Short transactions that others wait for: never behind a slow receiver or mail server.
LIFECYCLE: Final = Queue("lifecycle", "io", priority=0, tasks_per_message=16, time_limit=30, window=200)
WEBHOOKS: Final = Queue(
    "webhooks", "io", priority=10, tasks_per_message=50, time_limit=60, window=400, share=0.5,
    lane=Lane("webhooks-slow", slow=False, struggling="struggling_deliveries"),
)  # fmt: skip
# Few at once: what hangs here keeps only its like waiting.
WEBHOOKS_SLOW: Final = Queue(
    "webhooks-slow", "io", priority=30, tasks_per_message=4, time_limit=60, window=32, share=0.25,
    lane=Lane("webhooks", slow=True, struggling="struggling_deliveries"),
)  # fmt: skip
MAIL: Final = Queue("mail", "io", priority=20, tasks_per_message=20, time_limit=60, window=200, share=0.25)

# What the installation does for itself may take minutes.
UPKEEP: Final = Queue("upkeep", "io", priority=40, tasks_per_message=1, time_limit=1800, window=2, share=0.1)

QUEUES: Final = (IMAGES, LIFECYCLE, WEBHOOKS, WEBHOOKS_SLOW, MAIL, UPKEEP)
BY_NAME: Final = {queue.name: queue for queue in QUEUES}


def lanes_of(queue: Queue) -> tuple[Queue, ...]:
    """The queue, and the one that its tasks may be moved to."""
    return (queue, BY_NAME[queue.lane.other]) if queue.lane else (queue,)


def of_group(group: Group) -> tuple[Queue, ...]:
    return tuple(queue for queue in QUEUES if queue.group == group)

"""How many tasks may be on their way to a worker."""

from queue_config.queues import Queue
from workers.windows import LEAST, Window


class Watch:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def window(watch: Watch, wait: float = 0.025) -> Window:
    queue = Queue("tests", "io", priority=0, tasks_per_message=1, time_limit=1, window=400, wait=wait)
    return Window(queue, watch)


def size_after(there: Window, watch: Watch, rate: int, *, waiting: int = 1) -> int:
    """A second in which so many tasks were taken up, seen twenty times."""
    for _ in range(20):
        watch.now += 0.05
        there.note(round(rate * 0.05), waiting)
    return there.size


def test_it_follows_the_rate_up_and_down_between_its_bounds() -> None:
    watch = Watch()
    there = window(watch)
    assert there.size == LEAST
    assert size_after(there, watch, 4_000) == 100
    assert size_after(there, watch, 100_000) == 400
    assert size_after(there, watch, 2_000) == 50
    assert size_after(there, watch, 0) == LEAST


def test_it_grows_while_workers_take_everything_before_more_comes() -> None:
    watch = Watch()
    there = window(watch)
    for _ in range(40):
        watch.now += 0.05
        there.note(there.size, waiting=0)
    assert there.size == 400


def test_few_tasks_that_are_taken_at_once_say_nothing() -> None:
    watch = Watch()
    there = window(watch)
    assert size_after(there, watch, 20, waiting=0) == LEAST


def test_a_queue_that_names_no_wait_has_a_window_of_one_size() -> None:
    watch = Watch()
    there = window(watch, wait=0)
    assert there.size == 400
    assert size_after(there, watch, 10) == 400

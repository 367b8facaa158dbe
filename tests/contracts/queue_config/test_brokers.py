"""What every broker does, whatever carries its messages."""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import dramatiq
import dramatiq.errors
import pytest
from dramatiq.broker import Consumer

from queue_config import serving
from queue_config.base import AHEAD, MessageBroker
from queue_config.errors import DelayNotSupportedError
from queue_config.middleware.event_loop import EventLoop
from queue_config.rabbitmq_broker import RabbitmqBroker
from queue_config.slots import GROWTH
from tests.contracts.queue_config.conftest import BuildBroker

Consume = Callable[..., Consumer]


def message(*ids: str, queue: str = "images") -> dramatiq.Message:
    return dramatiq.Message(queue_name=queue, actor_name="record", args=(list(ids),), kwargs={}, options={})


def patience(broker: MessageBroker) -> int:
    """After how many milliseconds a queue counts as empty: RabbitMQ never says so, it sends when there is something."""
    return 500 if isinstance(broker, RabbitmqBroker) else 50


def take(broker: MessageBroker, queue: str = "images") -> list[str]:
    """All ids that wait on a queue, taken as a worker would."""
    consumer = broker.consume(queue, prefetch=10_000, timeout=patience(broker))
    taken = []
    for found in iter(consumer.__next__, None):
        taken += found.args[0]
        consumer.ack(found)
    consumer.close()
    return taken


@pytest.fixture
def consume(broker: MessageBroker) -> Iterator[Consume]:
    """Consumers of that broker, which are closed in the end."""
    with contextlib.ExitStack() as opened:

        def new(queue: str, **how: int) -> Consumer:
            return opened.enter_context(contextlib.closing(broker.consume(queue, **how)))

        yield new


class Done:
    """What an actor was given, from whatever thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.ids: list[str] = []

    def add(self, ids: list[str]) -> None:
        with self._changed:
            self.ids += ids
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ids) >= count, timeout=10), f"only {len(self.ids)} arrived"
            return list(self.ids)


def test_messages_that_may_go_ahead_come_as_well_and_once(broker: MessageBroker) -> None:
    hurried = message("tsk_3").copy(options=AHEAD)
    broker.enqueue_many([message("tsk_1"), message("tsk_2"), hurried])
    assert sorted(take(broker)) == ["tsk_1", "tsk_2", "tsk_3"]
    broker.enqueue(hurried)
    broker.flush_all()
    assert take(broker) == []


def test_messages_come_out_as_they_went_in(broker: MessageBroker, consume: Consume) -> None:
    sent = message("tsk_1", "tsk_2")
    broker.enqueue(sent)
    received = next(consume("images", timeout=patience(broker)))
    assert received is not None
    assert received._message == sent


def test_many_messages_go_to_their_queues_in_order(broker: MessageBroker) -> None:
    broker.enqueue_many([message(f"tsk_{n}", queue=("images", "mail")[n % 2]) for n in range(100)])
    assert take(broker, "images") == [f"tsk_{n}" for n in range(0, 100, 2)]
    assert take(broker, "mail") == [f"tsk_{n}" for n in range(1, 100, 2)]


def test_sending_nothing_is_fine(broker: MessageBroker) -> None:
    broker.enqueue_many([])
    assert take(broker) == []


def test_an_unknown_queue_refuses_the_whole_batch(broker: MessageBroker) -> None:
    with pytest.raises(dramatiq.errors.QueueNotFound):
        broker.enqueue_many([message("tsk_1"), message("tsk_2", queue="elsewhere")])
    with pytest.raises(dramatiq.errors.QueueNotFound):
        broker.consume("elsewhere")
    assert take(broker) == []


def test_a_delay_is_refused_because_due_times_live_in_the_ledger(broker: MessageBroker) -> None:
    with pytest.raises(DelayNotSupportedError, match="run_at"):
        broker.enqueue(message("tsk_1"), delay=1000)
    assert take(broker) == []


def test_a_consumer_holds_no_more_messages_than_it_was_allowed(broker: MessageBroker, consume: Consume) -> None:
    broker.enqueue_many([message(f"tsk_{n}", queue="lifecycle") for n in range(3)])
    consumer = consume("lifecycle", prefetch=2, timeout=patience(broker))
    first, second = next(consumer), next(consumer)
    assert first is not None
    assert second is not None
    assert next(consumer) is None
    consumer.ack(first)
    assert next(consumer) is not None
    consumer.nack(second)
    assert next(consumer) is None, "the queue is empty"


def test_a_queue_with_a_share_leaves_threads_to_its_neighbours(broker: MessageBroker, consume: Consume) -> None:
    broker.enqueue_many([message(f"tsk_{n}", queue="webhooks") for n in range(8)])
    consumer = consume("webhooks", prefetch=8, timeout=patience(broker))
    assert sum(next(consumer) is not None for _ in range(8)) == 4


def test_no_message_is_lost_or_doubled_among_many_consumers(broker: MessageBroker) -> None:
    taken: list[str] = []
    consumers = [threading.Thread(target=lambda: taken.extend(take(broker))) for _ in range(4)]
    for consumer in consumers:
        consumer.start()
    for start in range(0, 500, 50):
        broker.enqueue_many([message(f"tsk_{n}") for n in range(start, start + 50)])
    for consumer in consumers:
        consumer.join()
    assert Counter(taken) == Counter(f"tsk_{n}" for n in range(500))


def test_messages_that_were_not_begun_go_back_to_the_head_of_their_queue(broker: MessageBroker) -> None:
    broker.enqueue_many([message(f"tsk_{n}", queue="lifecycle") for n in range(4)])
    consumer = broker.consume("lifecycle", prefetch=2, timeout=patience(broker))
    held = [next(consumer), next(consumer)]
    consumer.requeue([found for found in held if found is not None])
    consumer.close()
    assert take(broker, queue="lifecycle") == ["tsk_0", "tsk_1", "tsk_2", "tsk_3"]


def test_of_a_queue_whose_work_may_take_long_a_consumer_holds_few_messages_at_first(
    broker: MessageBroker, consume: Consume
) -> None:
    broker.enqueue_many([message(f"tsk_{n}") for n in range(4)])
    consumer = consume("images", prefetch=2 * GROWTH, timeout=patience(broker))
    assert next(consumer) is not None
    assert next(consumer) is not None
    assert next(consumer) is None


def test_a_waiting_consumer_is_woken_by_a_message(broker: MessageBroker) -> None:
    consumer = broker.consume("images", timeout=5_000)
    sender = threading.Timer(0.1, broker.enqueue, [message("tsk_1")])
    sender.start()
    began = time.monotonic()
    assert next(consumer) is not None
    assert time.monotonic() - began < 3
    sender.join()


def test_async_actors_run_together_on_one_loop(new_broker: BuildBroker) -> None:
    loop = EventLoop()
    broker = new_broker(loop)
    done = Done()
    met = asyncio.Barrier(3)
    loops: set[asyncio.AbstractEventLoop] = set()

    @dramatiq.actor(broker=broker, queue_name="lifecycle", actor_name="record")
    async def record(ids: list[str]) -> None:
        await met.wait()
        loops.add(asyncio.get_running_loop())
        done.add(ids)

    worker = serving.start(broker, "io", threads=3)
    broker.enqueue_many([message(f"tsk_{n}", queue="lifecycle") for n in range(3)])
    assert sorted(done.wait_for(3)) == ["tsk_0", "tsk_1", "tsk_2"]
    assert loops == {loop.loop}
    serving.stop(worker, timeout=5)


def test_a_worker_serves_the_queues_of_its_group_only(new_broker: BuildBroker) -> None:
    broker = new_broker(EventLoop())
    done = Done()
    dramatiq.actor(done.add, broker=broker, queue_name="mail", actor_name="record")
    worker = serving.start(broker, "io", threads=2)
    broker.enqueue_many([message("tsk_image"), message("tsk_mail", queue="mail")])
    assert done.wait_for(1) == ["tsk_mail"]
    serving.stop(worker, timeout=5)
    assert take(broker) == ["tsk_image"]


def test_an_actor_that_raises_takes_neither_its_thread_nor_its_slot(new_broker: BuildBroker) -> None:
    broker = new_broker(EventLoop())
    done = Done()

    @dramatiq.actor(broker=broker, queue_name="images", actor_name="record")
    async def record(ids: list[str]) -> None:
        done.add(ids)
        raise ValueError("broken")

    worker = serving.start(broker, "images", threads=1)
    broker.enqueue_many([message(f"tsk_{n}") for n in range(5)])
    assert done.wait_for(5) == [f"tsk_{n}" for n in range(5)]
    serving.stop(worker, timeout=5)
    assert take(broker) == [], "no retry but the ledger's"


def test_a_message_for_an_actor_of_a_newer_release_does_not_stop_the_queue(new_broker: BuildBroker) -> None:
    broker = new_broker(EventLoop())
    done = Done()
    dramatiq.actor(done.add, broker=broker, queue_name="images", actor_name="record")
    worker = serving.start(broker, "images", threads=1)
    newer = dramatiq.Message(queue_name="images", actor_name="newer", args=(), kwargs={}, options={})
    broker.enqueue_many([newer, newer, message("tsk_1")])
    assert done.wait_for(1) == ["tsk_1"]
    serving.stop(worker, timeout=5)


def test_an_idle_worker_stops_promptly(new_broker: BuildBroker) -> None:
    worker = serving.start(new_broker(EventLoop()), "io", threads=4)
    time.sleep(0.1)
    began = time.monotonic()
    serving.stop(worker, timeout=5)
    assert time.monotonic() - began < 1.5


def test_a_worker_whose_thread_has_died_says_so(new_broker: BuildBroker) -> None:
    worker = serving.start(new_broker(EventLoop()), "io", threads=1)
    assert serving.ailment(worker) is None
    consumer = worker.consumers["mail"]
    consumer.stop()
    consumer.join()
    assert serving.ailment(worker) == "nothing takes messages from mail"
    serving.stop(worker, timeout=5)


def test_a_stopping_worker_ends_what_runs_and_gives_back_what_has_not_begun(new_broker: BuildBroker) -> None:
    broker = new_broker(EventLoop())
    began, release, done = threading.Event(), threading.Event(), Done()

    @dramatiq.actor(broker=broker, queue_name="images", actor_name="record")
    def record(ids: list[str]) -> None:
        began.set()
        release.wait(10)
        done.add(ids)

    broker.enqueue_many([message(f"tsk_{n}") for n in range(3)])
    worker = serving.start(broker, "images", threads=1)
    assert began.wait(5)
    stopping = threading.Thread(target=serving.stop, args=(worker, 10))
    stopping.start()
    time.sleep(0.2)
    broker.enqueue(message("tsk_late"))
    release.set()
    stopping.join()
    assert done.ids == ["tsk_0"]
    assert take(broker) == ["tsk_1", "tsk_2", "tsk_late"]


def test_a_worker_that_takes_no_more_keeps_nothing_from_the_others(new_broker: BuildBroker) -> None:
    broker = new_broker(EventLoop())
    began, release = threading.Event(), threading.Event()

    @dramatiq.actor(broker=broker, queue_name="lifecycle", actor_name="record")
    def record(ids: list[str]) -> None:
        began.set()
        release.wait(10)

    broker.enqueue(message("tsk_1", queue="lifecycle"))
    worker = serving.start(broker, "io", threads=4)
    assert began.wait(5)
    serving.stop_taking(worker)
    time.sleep(3 * serving.IDLE_WAIT_MS / 1000)
    broker.enqueue(message("tsk_2", queue="lifecycle"))
    assert take(broker, "lifecycle") == ["tsk_2"]
    release.set()
    serving.stop(worker, timeout=5)
    assert take(broker, "lifecycle") == []

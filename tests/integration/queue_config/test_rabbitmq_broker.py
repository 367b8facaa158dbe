"""The RabbitMQ broker while its server is killed, emptied, frozen, short of memory, cut off or not there."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import dramatiq
import pika
import pytest

from bench.rabbitmq_server import RabbitmqServer
from queue_config import serving
from queue_config.base import MessageBroker
from queue_config.broker import build_broker
from queue_config.errors import BrokerUnavailableError
from queue_config.middleware.event_loop import EventLoop
from queue_config.queues import QUEUES, Queue
from queue_config.rabbitmq_broker import RabbitmqBroker
from queue_config.rabbitmq_session import DELIVERY_LIMIT, PREFIX
from queue_config.slots import GROWTH
from runtime.settings import Secret, Settings, SettingsError
from tests.wire import Wire


class Recorder:
    """A worker whose one actor remembers what it was given, and ends when it is let go."""

    def __init__(self, url: str) -> None:
        self.seen: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.broker = build_broker(Settings(broker="rabbitmq", rabbitmq_url=Secret(url)), [EventLoop()])
        dramatiq.actor(self._record, broker=self.broker, queue_name="images", actor_name="record")
        self.worker = serving.start(self.broker, "images", threads=2 * GROWTH)

    def _record(self, ids: list[str]) -> None:
        self.seen += ids
        assert self.go.wait(20)

    def stop(self) -> None:
        self.go.set()
        serving.stop(self.worker, timeout=5)
        self.broker.close()


@pytest.fixture
def broker(rabbitmq: RabbitmqServer) -> Iterator[RabbitmqBroker]:
    """To send with; its queues are empty."""
    broker = RabbitmqBroker(rabbitmq.url, QUEUES)
    broker.flush_all()
    yield broker
    broker.close()


@pytest.fixture
def recorder(rabbitmq: RabbitmqServer, broker: RabbitmqBroker) -> Iterator[Recorder]:
    recorder = Recorder(rabbitmq.url)
    yield recorder
    recorder.stop()


@pytest.fixture
def wire(rabbitmq: RabbitmqServer) -> Iterator[Wire]:
    with Wire(urlsplit(rabbitmq.url).port or 0) as wire:
        yield wire


def over(wire: Wire) -> str:
    return f"amqp://127.0.0.1:{wire.port}/"


def message(*ids: str, queue: str = "images") -> dramatiq.Message:
    return dramatiq.Message(queue_name=queue, actor_name="record", args=(list(ids),), kwargs={}, options={})


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def send_when_possible(broker: MessageBroker, sent: dramatiq.Message) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            broker.enqueue(sent)
        except BrokerUnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def test_what_was_confirmed_outlives_a_kill_and_the_worker_takes_on(
    rabbitmq: RabbitmqServer, broker: RabbitmqBroker, recorder: Recorder
) -> None:
    broker.enqueue(message("tsk_mail", queue="mail"))
    rabbitmq.kill()
    try:
        with pytest.raises(BrokerUnavailableError, match="is away"):
            broker.enqueue(message("tsk_lost"))
    finally:
        rabbitmq.start()
    send_when_possible(broker, message("tsk_1"))
    wait_until(lambda: recorder.seen == ["tsk_1"])
    mail = next(broker.consume("mail", timeout=60_000))
    assert mail is not None
    assert mail.args == (["tsk_mail"],)


def test_a_server_that_has_lost_everything_gets_its_queues_anew(
    rabbitmq: RabbitmqServer, broker: RabbitmqBroker, recorder: Recorder
) -> None:
    broker.enqueue(message("tsk_mail", queue="mail"))
    rabbitmq.kill()
    rabbitmq.forget()
    rabbitmq.start()
    send_when_possible(broker, message("tsk_1"))
    wait_until(lambda: recorder.seen == ["tsk_1"])
    assert next(broker.consume("mail", timeout=500)) is None
    assert serving.ailment(recorder.worker) is None


def test_a_sender_whose_queue_was_deleted_is_told_and_declares_it_anew(
    rabbitmq: RabbitmqServer, broker: RabbitmqBroker
) -> None:
    delete_queue(rabbitmq, "mail")
    with pytest.raises(BrokerUnavailableError, match="a queue was deleted"):
        broker.enqueue(message("tsk_unroutable", queue="mail"))
    send_when_possible(broker, message("tsk_1", queue="mail"))
    assert next(broker.consume("mail", timeout=5_000)) is not None


def test_a_worker_whose_queue_was_deleted_declares_it_anew(
    rabbitmq: RabbitmqServer, broker: RabbitmqBroker, recorder: Recorder
) -> None:
    broker.enqueue(message("tsk_1"))
    wait_until(lambda: recorder.seen == ["tsk_1"])
    delete_queue(rabbitmq, "images")
    time.sleep(0.5)
    broker.enqueue(message("tsk_2"))
    wait_until(lambda: recorder.seen == ["tsk_1", "tsk_2"])


def delete_queue(rabbitmq: RabbitmqServer, name: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as other:
        other.channel().queue_delete(PREFIX + name)


def test_a_frozen_server_holds_the_sender_for_a_second_at_most(
    rabbitmq: RabbitmqServer, broker: RabbitmqBroker, recorder: Recorder
) -> None:
    send_when_possible(broker, message("tsk_1"))
    wait_until(lambda: recorder.seen == ["tsk_1"])
    rabbitmq.send(signal.SIGSTOP)
    try:
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(BrokerUnavailableError, match="did not answer in time"):
                broker.enqueue(message("tsk_perhaps"))
            assert time.monotonic() - began < 1.5
    finally:
        rabbitmq.send(signal.SIGCONT)
    send_when_possible(broker, message("tsk_2"))
    wait_until(lambda: "tsk_2" in recorder.seen)


def test_a_server_short_of_memory_holds_the_sender_for_a_second_at_most(
    rabbitmq: RabbitmqServer, broker: RabbitmqBroker, recorder: Recorder
) -> None:
    rabbitmq.control("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        began = time.monotonic()
        with pytest.raises(BrokerUnavailableError, match="did not answer in time"):
            broker.enqueue(message("tsk_perhaps"))
        assert time.monotonic() - began < 1.5
    finally:
        rabbitmq.control("set_vm_memory_high_watermark", "absolute", "1GB")
    send_when_possible(broker, message("tsk_1"))
    wait_until(lambda: "tsk_1" in recorder.seen)


def test_a_refused_connection_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    broker = RabbitmqBroker(f"amqp://127.0.0.1:{port}", QUEUES)
    began = time.monotonic()
    for _ in range(5):
        with pytest.raises(BrokerUnavailableError, match="ConnectionRefusedError"):
            broker.enqueue(message("tsk_1"))
    assert time.monotonic() - began < 0.8
    broker.close()


def test_a_server_that_accepts_and_says_nothing_holds_the_sender_for_a_second_at_most() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = RabbitmqBroker(f"amqp://127.0.0.1:{silent.getsockname()[1]}", QUEUES)
        began = time.monotonic()
        with pytest.raises(BrokerUnavailableError):
            broker.enqueue(message("tsk_1"))
        assert time.monotonic() - began < 1.5
    broker.close()


def test_a_wrong_password_is_told_without_repeating_it(rabbitmq: RabbitmqServer) -> None:
    broker = RabbitmqBroker(rabbitmq.url.replace("127.0.0.1", "guest:hunter2@127.0.0.1"), QUEUES)
    with pytest.raises(BrokerUnavailableError, match="Authentication") as refused:
        broker.enqueue(message("tsk_1"))
    assert "hunter2" not in str(refused.value)
    broker.close()


def test_a_queue_of_another_kind_is_not_used(rabbitmq: RabbitmqServer) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as other:
        other.channel().queue_declare(PREFIX + "odd")
        broker = RabbitmqBroker(rabbitmq.url, [Queue("odd", "io", 0, 1, 1, 1)])
        with pytest.raises(BrokerUnavailableError, match=r"PRECONDITION_FAILED.*atelier\.odd"):
            broker.enqueue(message("tsk_1", queue="odd"))
        broker.close()
        other.channel().queue_delete(PREFIX + "odd")


def test_a_worker_may_start_before_the_server_and_stops_promptly_when_it_never_comes(rabbitmq: RabbitmqServer) -> None:
    wire = Wire(urlsplit(rabbitmq.url).port or 0)
    recorder = Recorder(over(wire))
    time.sleep(0.5)
    wire.open()
    send_when_possible(recorder.broker, message("tsk_1"))
    wait_until(lambda: recorder.seen[-1:] == ["tsk_1"])
    wire.close()
    time.sleep(0.3)
    began = time.monotonic()
    recorder.stop()
    assert time.monotonic() - began < 1.5


def test_a_worker_outlives_cut_connections(broker: RabbitmqBroker, wire: Wire) -> None:
    recorder = Recorder(over(wire))
    for n in range(5):
        broker.enqueue(message(f"tsk_{n}"))
        wait_until(lambda n=n: f"tsk_{n}" in recorder.seen)
        wire.cut()
    broker.enqueue(message("tsk_last"))
    wait_until(lambda: "tsk_last" in recorder.seen)
    assert serving.ailment(recorder.worker) is None
    recorder.stop()


def test_what_a_lost_worker_held_is_with_another_one_at_once(broker: RabbitmqBroker, wire: Wire) -> None:
    lost = RabbitmqBroker(over(wire), QUEUES)
    held = lost.consume("images", prefetch=2 * GROWTH, timeout=5_000)
    broker.enqueue_many([message("tsk_running"), message("tsk_waiting")])
    assert next(held) is not None
    consumer = broker.consume("images", prefetch=2 * GROWTH, timeout=5_000)
    began = time.monotonic()
    wire.close()
    taken = [next(consumer), next(consumer)]
    assert time.monotonic() - began < 2
    assert [each.args[0] for each in taken if each is not None] == [["tsk_running"], ["tsk_waiting"]]
    lost.close()


def test_work_that_ends_after_its_connection_was_lost_does_no_harm(broker: RabbitmqBroker, wire: Wire) -> None:
    recorder = Recorder(over(wire))
    recorder.go.clear()
    broker.enqueue(message("tsk_1"))
    wait_until(lambda: recorder.seen == ["tsk_1"])
    wire.cut()
    time.sleep(0.5)
    recorder.go.set()
    wait_until(lambda: recorder.seen == ["tsk_1", "tsk_1"])
    broker.enqueue(message("tsk_2"))
    wait_until(lambda: recorder.seen[-1] == "tsk_2")
    recorder.stop()
    assert next(broker.consume("images", timeout=500)) is None


def test_a_worker_that_takes_no_more_does_not_begin_again_when_it_is_connected_anew(
    broker: RabbitmqBroker, wire: Wire
) -> None:
    recorder = Recorder(over(wire))
    recorder.go.clear()
    broker.enqueue(message("tsk_1"))
    wait_until(lambda: recorder.seen == ["tsk_1"])
    serving.stop_taking(recorder.worker)
    wire.cut()
    time.sleep(1)
    broker.enqueue(message("tsk_2"))
    consumer = broker.consume("images", prefetch=2 * GROWTH, timeout=2_000)
    assert [each.args[0] for each in (next(consumer), next(consumer)) if each] == [["tsk_1"], ["tsk_2"]]
    recorder.stop()


def test_work_longer_than_the_server_waits_for_an_answer_is_only_sent_again(
    rabbitmq: RabbitmqServer, broker: RabbitmqBroker
) -> None:
    let_work_take(rabbitmq, milliseconds=300, look_each=100)
    try:
        recorder = Recorder(rabbitmq.url)
        recorder.go.clear()
        broker.enqueue(message("tsk_1"))
        wait_until(lambda: recorder.seen == ["tsk_1", "tsk_1"])
    finally:
        let_work_take(rabbitmq, milliseconds=1_800_000, look_each=60_000)
    recorder.go.set()
    broker.enqueue(message("tsk_2"))
    wait_until(lambda: "tsk_2" in recorder.seen)
    recorder.stop()


def let_work_take(rabbitmq: RabbitmqServer, *, milliseconds: int, look_each: int) -> None:
    """RabbitMQ's `consumer_timeout`: channels opened from now on are closed when an answer takes longer."""
    values = {"consumer_timeout": milliseconds, "channel_tick_interval": look_each}
    rabbitmq.control(
        "eval", ", ".join(f"application:set_env(rabbit, {name}, {value})" for name, value in values.items()) + "."
    )


def test_a_message_that_keeps_coming_back_is_dropped_in_the_end(broker: RabbitmqBroker) -> None:
    broker.enqueue(message("tsk_poison"))
    deliveries = 0
    while True:
        consumer = broker.consume("images", timeout=500)
        if next(consumer) is None:
            break
        deliveries += 1
        consumer.close()
    assert deliveries == DELIVERY_LIMIT + 1


def test_messages_are_kept_on_disk_and_die_after_a_minute(rabbitmq: RabbitmqServer, broker: RabbitmqBroker) -> None:
    broker.enqueue(message("tsk_1"))
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as other:
        _, properties, _ = other.channel().basic_get(PREFIX + "images", auto_ack=True)
    assert (properties.delivery_mode, properties.expiration) == (2, "60000")


def test_foreign_bytes_on_a_queue_are_dropped(broker: RabbitmqBroker, recorder: Recorder) -> None:
    broker.push({"images": [b"\xff not a message", b'{"neither": "this"}', b""]})
    broker.enqueue(message("tsk_1"))
    wait_until(lambda: recorder.seen == ["tsk_1"])
    assert serving.ailment(recorder.worker) is None


def test_threads_may_send_together(broker: RabbitmqBroker, recorder: Recorder) -> None:
    threads = [
        threading.Thread(target=lambda n=n: [broker.enqueue(message(f"tsk_{n}_{m}")) for m in range(50)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(recorder.seen) >= 200)
    assert sorted(recorder.seen) == sorted(f"tsk_{n}_{m}" for n in range(4) for m in range(50))


def test_without_an_address_the_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="ATELIER_RABBITMQ_URL is missing"):
        build_broker(Settings(broker="rabbitmq"))


def test_an_address_that_cannot_be_read_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsError, match="ATELIER_RABBITMQ_URL") as refused:
        build_broker(Settings(broker="rabbitmq", rabbitmq_url=Secret("amqp://user:hunter2@host:port/")))
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None

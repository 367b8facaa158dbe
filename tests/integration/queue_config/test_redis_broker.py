"""The Redis broker while its server is killed, flushed, frozen, read-only or not there."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dramatiq
import pytest

from queue_config import redis_broker, serving
from queue_config.base import AHEAD, MessageBroker
from queue_config.broker import build_broker
from queue_config.errors import BrokerUnavailableError
from queue_config.middleware.event_loop import EventLoop
from queue_config.queues import QUEUES
from queue_config.redis_broker import KEY_PREFIX, RedisBroker
from queue_config.slots import GROWTH
from runtime.settings import Secret, Settings, SettingsError
from tests.redis_server import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


class Recorder:
    """A worker whose one actor remembers what it was given."""

    def __init__(self, url: str) -> None:
        self.seen: list[str] = []
        self.broker = build_broker(Settings(redis_url=Secret(url)), [EventLoop()])
        dramatiq.actor(self._record, broker=self.broker, queue_name="images", actor_name="record")
        self.worker = serving.start(self.broker, "images", threads=2 * GROWTH)

    async def _record(self, ids: list[str]) -> None:
        self.seen += ids

    def stop(self) -> None:
        serving.stop(self.worker, timeout=5)
        self.broker.close()


@pytest.fixture
def recorder(server: RedisServer) -> Iterator[Recorder]:
    recorder = Recorder(server.url)
    yield recorder
    recorder.stop()


def send(broker: MessageBroker, *ids: str) -> None:
    broker.enqueue(dramatiq.Message(queue_name="images", actor_name="record", args=(list(ids),), kwargs={}, options={}))


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_after_kill_and_restart_of_redis_new_messages_are_consumed(server: RedisServer, recorder: Recorder) -> None:
    for n in range(3):
        server.kill()
        with pytest.raises(BrokerUnavailableError):
            send(recorder.broker, "tsk_lost")
        time.sleep(0.3 * n)
        server.start()
        send(recorder.broker, f"tsk_{n}")
        wait_until(lambda n=n: f"tsk_{n}" in recorder.seen)
    assert recorder.seen == ["tsk_0", "tsk_1", "tsk_2"]


def test_a_flushed_redis_loses_messages_but_no_consumer(server: RedisServer, recorder: Recorder) -> None:
    with server.client() as client:
        client.flushall()
    send(recorder.broker, "tsk_1")
    wait_until(lambda: recorder.seen == ["tsk_1"])


def test_messages_that_go_ahead_pass_all_that_wait_in_the_order_of_their_sending(server: RedisServer) -> None:
    broker = build_broker(Settings(redis_url=Secret(server.url)))
    sent = [("tsk_1", {}), ("tsk_2", {}), ("tsk_3", AHEAD), ("tsk_4", AHEAD)]
    for task, options in sent:
        broker.enqueue(
            dramatiq.Message(queue_name="images", actor_name="record", args=(task,), kwargs={}, options=options)
        )
    consumer = broker.consume("images", prefetch=len(sent) * GROWTH)
    taken = [found.args[0] for found in (next(consumer) for _ in sent) if found]
    consumer.close()
    broker.close()
    assert taken == ["tsk_3", "tsk_4", "tsk_1", "tsk_2"]


@pytest.mark.parametrize("quick", [True, False])
def test_a_worker_that_holds_all_it_may_takes_what_goes_ahead_while_its_messages_are_quick(
    server: RedisServer, quick: bool
) -> None:
    broker = build_broker(Settings(redis_url=Secret(server.url)))
    for n in range(5):
        send(broker, f"tsk_{n}")
    consumer = broker.consume("images", prefetch=2 * GROWTH, timeout=50)
    held = [next(consumer), next(consumer)]
    if quick:
        done = held.pop()
        done.since = time.monotonic()  # however slow this machine is
        consumer.ack(done)
        held += [next(consumer), next(consumer)]
    assert next(consumer) is None
    broker.enqueue(dramatiq.Message(queue_name="images", actor_name="record", args=("me",), kwargs={}, options=AHEAD))
    hurried = next(consumer)
    assert (hurried is not None) == quick
    if not quick:
        consumer.ack(held.pop())
        hurried = next(consumer)
    assert hurried.args == ("me",)
    consumer.close()
    broker.close()


def test_while_nobody_takes_messages_a_queue_keeps_the_newest_alone(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_broker, "LONGEST", 3)
    broker = build_broker(Settings(redis_url=Secret(server.url)))
    for n in range(8):
        send(broker, f"tsk_{n}")
    with server.client() as client:
        kept = [dramatiq.Message.decode(each).args[0] for each in client.lrange(f"{KEY_PREFIX}images", 0, -1)]
    broker.close()
    assert kept == [["tsk_5"], ["tsk_6"], ["tsk_7"]]


def test_a_worker_outlives_a_redis_that_turns_read_only(server: RedisServer, recorder: Recorder) -> None:
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")
        with pytest.raises(BrokerUnavailableError, match="ReadOnlyError"):
            send(recorder.broker, "tsk_refused")
        time.sleep(0.6)
        client.replicaof("NO", "ONE")
    send(recorder.broker, "tsk_1")
    wait_until(lambda: recorder.seen == ["tsk_1"])


def test_a_frozen_redis_holds_the_sender_for_a_second_at_most(server: RedisServer, recorder: Recorder) -> None:
    server.send(signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(BrokerUnavailableError, match="TimeoutError"):
            send(recorder.broker, "tsk_perhaps")
        assert time.monotonic() - began < 1.5
    finally:
        server.send(signal.SIGCONT)
    send(recorder.broker, "tsk_1")
    wait_until(lambda: "tsk_1" in recorder.seen)


def test_a_refused_connection_is_told_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(BrokerUnavailableError):
        send(RedisBroker(f"unix://{tmp_path}/nobody.sock", QUEUES), "tsk_1")
    assert time.monotonic() - began < 1


def test_a_server_that_accepts_and_says_nothing_holds_the_sender_for_a_second_at_most() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(BrokerUnavailableError):
            send(RedisBroker(f"redis://127.0.0.1:{silent.getsockname()[1]}", QUEUES), "tsk_1")
        assert time.monotonic() - began < 1.5


def test_a_worker_stops_promptly_while_redis_is_gone(server: RedisServer) -> None:
    recorder = Recorder(server.url)
    server.kill()
    time.sleep(0.3)
    began = time.monotonic()
    recorder.stop()
    assert time.monotonic() - began < 1.5


def test_a_worker_may_start_before_redis(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    recorder = Recorder(server.url)
    time.sleep(0.3)
    server.start()
    try:
        send(recorder.broker, "tsk_1")
        wait_until(lambda: recorder.seen == ["tsk_1"])
    finally:
        recorder.stop()
        server.kill()


def test_foreign_bytes_on_a_queue_are_dropped(server: RedisServer, recorder: Recorder) -> None:
    with server.client() as client:
        client.rpush(KEY_PREFIX + "images", b"\xff not a message", b'{"neither": "this"}')
    send(recorder.broker, "tsk_1")
    wait_until(lambda: recorder.seen == ["tsk_1"])
    assert all(consumer.is_alive() for consumer in recorder.worker.consumers.values())


def test_a_key_of_the_wrong_type_does_not_end_the_consumer(server: RedisServer, recorder: Recorder) -> None:
    with server.client() as client:
        client.set(KEY_PREFIX + "images", "not a list")
        with pytest.raises(BrokerUnavailableError):
            send(recorder.broker, "tsk_refused")
        time.sleep(0.6)
        client.delete(KEY_PREFIX + "images")
    send(recorder.broker, "tsk_1")
    wait_until(lambda: recorder.seen == ["tsk_1"])


def test_a_batch_goes_out_in_one_round_trip(server: RedisServer) -> None:
    broker = build_broker(Settings(redis_url=Secret(server.url)))
    with server.client() as client:
        messages = [
            dramatiq.Message(queue_name=queue.name, actor_name="record", args=(["tsk_1"],), kwargs={}, options={})
            for queue in QUEUES
            for _ in range(25)
        ]
        broker.enqueue_many(messages)
        assert client.info("commandstats")["cmdstat_rpush"]["calls"] == len(QUEUES)
        assert {client.llen(KEY_PREFIX + queue.name) for queue in QUEUES} == {25}
    broker.close()


def test_threads_may_send_together(server: RedisServer, recorder: Recorder) -> None:
    threads = [
        threading.Thread(target=lambda n=n: [send(recorder.broker, f"tsk_{n}_{m}") for m in range(50)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(recorder.seen) >= 200)
    assert sorted(recorder.seen) == sorted(f"tsk_{n}_{m}" for n in range(4) for m in range(50))


def test_without_an_address_the_broker_is_refused_with_the_setting_to_give() -> None:
    with pytest.raises(SettingsError, match="ATELIER_REDIS_URL"):
        build_broker(Settings())

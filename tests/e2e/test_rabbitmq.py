"""A whole installation on RabbitMQ, without any Redis: its promises do not depend on what carries its messages."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.rabbitmq_server import RabbitmqServer
from queue_config.queues import QUEUES
from queue_config.rabbitmq_broker import RabbitmqBroker
from tests.conftest import quickest_place
from tests.e2e.conftest import LOST_AFTER
from tests.e2e.customer import Customer
from tests.e2e.running import Command, Up


@pytest.fixture(scope="module")
def up(rabbitmq_server: RabbitmqServer) -> Iterator[Up]:
    """In place of the one on Redis."""
    broker = RabbitmqBroker(rabbitmq_server.url, QUEUES)
    broker.flush_all()
    broker.close()
    folder = Path(tempfile.mkdtemp(prefix="atelier-", dir=quickest_place()))
    own = {"dispatched_timeout": LOST_AFTER, "lease_seconds": "3"}
    started = Up(folder, broker="rabbitmq", rabbitmq_url=rabbitmq_server.url, **own)
    try:
        started.wait_until_ready()
        yield started
        assert started.stop() == 0, started.output
    finally:
        started.kill()
        shutil.rmtree(folder)


async def test_no_redis_runs_and_none_is_missed(up: Up, customer: Customer, tmp_path: Path) -> None:
    generations = await customer.post_many(20)
    await customer.wait_until_done(generations)
    assert await customer.troubled(generations) == []
    await customer.check(generations)
    assert set(up.contract.pids) == {"postgres", "api", "relay", "worker-images", "worker-io"}
    assert up.contract.redis_url == ""
    assert not [process for process in up.family() if "redis" in process.name()]
    asked = Command(tmp_path, "doctor", "--json", data_dir=str(up.data))
    assert asked.wait() == 0, asked.output
    assert {"RabbitMQ", "good"} in [
        {each["part"], each["state"]} for each in msgspec.json.decode(asked.output)["findings"]
    ]


async def test_killed_workers_lose_nothing(up: Up, customer: Customer) -> None:
    generations = await customer.post_many(30)
    await customer.wait_until_running(generations)
    pids = {name: up.contract.pids[name] for name in ("worker-images", "worker-io")}
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    generations += await customer.post_many(10)
    for name, pid in pids.items():
        await up.wait_for_another(name, pid)
    await customer.wait_until_done(generations)
    await customer.check(generations)


async def test_a_rabbitmq_that_is_killed_and_comes_back_empty_costs_nothing(
    up: Up, customer: Customer, rabbitmq_server: RabbitmqServer
) -> None:
    living = {name: up.contract.pids[name] for name in ("relay", "worker-images", "worker-io")}
    generations = await customer.post_many(30)
    rabbitmq_server.kill()
    generations += await customer.post_many(10)
    rabbitmq_server.forget()
    rabbitmq_server.launch()
    await asyncio.to_thread(rabbitmq_server.wait_until_ready)
    generations += await customer.post_many(10)
    await customer.wait_until_done(generations)
    await customer.check(generations)
    assert {name: up.contract.pids[name] for name in living} == living, "nobody had to be started anew"


async def test_while_rabbitmq_does_not_answer_everything_is_accepted_and_done_later(
    customer: Customer, rabbitmq_server: RabbitmqServer
) -> None:
    rabbitmq_server.send(signal.SIGSTOP)
    try:
        generations = []
        for _ in range(3):
            generations += await customer.post_many(10)
            await asyncio.sleep(0.5)
    finally:
        rabbitmq_server.send(signal.SIGCONT)
    await customer.wait_until_done(generations)
    await customer.check(generations)


def test_it_is_proven_as_on_redis(rabbitmq_server: RabbitmqServer, tmp_path: Path) -> None:
    """In a virtual host of its own: two installations may not share their queues."""
    rabbitmq_server.control("add_vhost", "prove")
    rabbitmq_server.control("set_permissions", "-p", "prove", "guest", ".*", ".*", ".*")
    url = f"{rabbitmq_server.url}prove"
    proof = Command(tmp_path, "prove", "--images", "30", "--configured-broker", broker="rabbitmq", rabbitmq_url=url)
    assert proof.wait(110) == 0, proof.output
    assert "wiped RabbitMQ" in proof.output
    assert proof.output.strip().endswith("30 images, 30 charges, 30 verified webhooks, 0 lost")

from collections.abc import Callable, Iterator

import dramatiq
import pytest

from bench.rabbitmq_server import RabbitmqServer
from queue_config.base import MessageBroker
from queue_config.broker import build_broker
from runtime.settings import Secret, Settings
from tests.redis_server import RedisServer

BuildBroker = Callable[..., MessageBroker]


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.kill()


@pytest.fixture
def rabbitmq_url(rabbitmq: RabbitmqServer) -> str:
    return rabbitmq.url


@pytest.fixture(params=["stub", "redis", "rabbitmq"])
def new_broker(request: pytest.FixtureRequest) -> Iterator[BuildBroker]:
    """Builds brokers of one kind on the same (empty) queues."""
    kind = request.param
    urls = {} if kind == "stub" else {f"{kind}_url": Secret(request.getfixturevalue(f"{kind}_url"))}
    settings = Settings(broker=kind, **urls)
    built: list[MessageBroker] = []

    def new(*middleware: dramatiq.Middleware) -> MessageBroker:
        broker = build_broker(settings, middleware)
        built.append(broker)
        broker.flush_all()
        return broker

    yield new
    for broker in built:
        broker.close()


@pytest.fixture
def broker(new_broker: BuildBroker) -> MessageBroker:
    return new_broker()

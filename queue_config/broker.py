"""The broker that the settings ask for. Dramatiq's own retries, delays, results, age limits and metrics are off: the
ledger keeps what must not be lost, and a message is only a wake-up.
"""

from collections.abc import Iterable

import dramatiq

from queue_config.encoder import Encoder
from queue_config.list_broker import ListBroker
from queue_config.queues import QUEUES
from queue_config.redis_broker import RedisBroker
from queue_config.stub_broker import StubBroker
from runtime.settings import Settings, SettingsError


def build_broker(settings: Settings, middleware: Iterable[dramatiq.Middleware] = ()) -> ListBroker:
    """Connects to nothing yet. A worker passes an `EventLoop`; who only sends needs no middleware."""
    dramatiq.set_encoder(Encoder())
    if settings.broker == "stub":
        return StubBroker(QUEUES, middleware)
    if not settings.redis_url:
        raise SettingsError("ATELIER_REDIS_URL is missing: messages travel over Redis")
    return RedisBroker(settings.redis_url, QUEUES, middleware)

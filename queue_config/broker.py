"""The broker that the settings ask for. Dramatiq's own retries, delays, results, age limits and metrics are off: the
ledger keeps what must not be lost, and a message is only a wake-up.
"""

import importlib
from collections.abc import Callable, Iterable

import dramatiq

from queue_config.base import MessageBroker
from queue_config.encoder import Encoder
from runtime.settings import Settings

Build = Callable[[Settings, Iterable[dramatiq.Middleware]], MessageBroker]


def build_broker(settings: Settings, middleware: Iterable[dramatiq.Middleware] = ()) -> MessageBroker:
    """Connects to nothing yet. A worker passes an `EventLoop`; who only sends needs no middleware.

    Raises SettingsError. Loads only what carries the messages: another broker's client would be megabytes for nothing.
    """
    dramatiq.set_encoder(Encoder())
    build: Build = importlib.import_module(f"queue_config.{settings.broker}_broker").build
    return build(settings, middleware)

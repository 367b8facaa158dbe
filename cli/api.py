"""`atelier api`: the API and the operators' port, until SIGTERM."""

import argparse
import functools

from api import server
from cli import readiness
from domain.tasks.outcomes import CarryOn
from migrations import compatibility
from queue_config import broker
from runtime import settings as settings_module
from runtime.settings import Settings
from workers import carrying_on


def run(_given: argparse.Namespace, settings: Settings) -> int:
    settings_module.require(settings, "database_url", "encryption_keys", "signing_keys")
    readiness.wait_for_database(settings)
    check_schema = functools.partial(compatibility.check, settings.database_system_url)
    return server.run(settings, check_schema, _carry_on(settings))


def _carry_on(settings: Settings) -> CarryOn | None:
    """Over Redis alone: with RabbitMQ each API process would have to keep in touch all the time."""
    if settings.broker != "redis" or not settings.redis_url:
        return None
    return carrying_on.to_images(broker.build_broker(settings))

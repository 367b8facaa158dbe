"""Looking into an installation from beside it: a running `atelier up` here, or the one that the settings name."""

import msgspec

from cli import contract
from migrations import roles
from runtime import settings as settings_module
from runtime.settings import Secret, Settings, SettingsError


def settings_of(given: Settings) -> Settings:
    """The settings, completed by what a running installation says of itself where they are silent.

    Raises SettingsError when they name no database and nothing runs.
    """
    running = contract.read(given.data_dir)
    if given.database_url:
        return given
    if running is None:
        raise SettingsError(
            f"nothing runs in {given.data_dir} and ATELIER_DATABASE_URL is missing: start `atelier up`, or say where "
            "the database is"
        )
    return msgspec.structs.replace(
        given,
        database_url=settings_module.as_role(running.database_url, roles.APP),
        database_system_url=Secret(running.database_url),
        database_owner_url=settings_module.as_role(running.database_url, roles.OWNER),
        redis_url=given.redis_url or Secret(running.redis_url),
        rabbitmq_url=given.rabbitmq_url or Secret(running.rabbitmq_url),
        broker="rabbitmq" if running.rabbitmq_url else given.broker,
    )

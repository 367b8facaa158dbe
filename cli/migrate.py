"""`atelier migrate`: roles and database where an admin's address is given, then the migrations."""

import argparse
import asyncio

from migrations import roles, upgrade
from runtime import failpoints
from runtime import settings as settings_module
from runtime.settings import Settings


def run(_given: argparse.Namespace, settings: Settings) -> None:
    """Safe to run again and beside other processes; one at a time wins an advisory lock."""
    failpoints.configure(settings.failpoints, settings.failpoints_dir, "migrate")
    settings_module.require(settings, "database_url")
    if settings.database_admin_url:
        asyncio.run(
            roles.create(
                settings.database_admin_url,
                owner_url=settings.database_owner_url,
                app_url=settings.database_url,
                system_url=settings.database_system_url,
            )
        )
    print(upgrade.upgrade(settings.database_owner_url))

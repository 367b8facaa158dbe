"""The two demo organizations with their keys and credits (`atelier seed`)."""

import argparse
import asyncio

from cli import attached, secrets_file
from cli.secrets_file import DemoKeys
from domain.accounts import organizations
from domain.api_keys import keys, scopes
from domain.subscriptions import credits, plans
from runtime.database import Database, SystemDatabase
from runtime.settings import Settings

DEMO = (("Demo", "scale", "demo@atelier.example"), ("Second demo", "free", "second@atelier.example"))


def run(_given: argparse.Namespace, settings: Settings) -> None:
    keys = asyncio.run(demo(attached.settings_of(settings)))
    print(f"Demo         {keys.api_key}\nSecond demo  {keys.second_api_key}")


async def demo(settings: Settings) -> DemoKeys:
    """Made once; found again in the data folder after that."""
    known = secrets_file.load_demo_keys(settings.data_dir)
    if known is not None and await _works(settings, known):
        return known
    made = [await _organization(settings, *wanted) for wanted in DEMO]
    demo_keys = DemoKeys(api_key=made[0], second_api_key=made[1])
    secrets_file.save_demo_keys(settings.data_dir, demo_keys)
    return demo_keys


async def _works(settings: Settings, known: DemoKeys) -> bool:
    """False when the database was thrown away while the data folder stayed."""
    database = Database(settings.database_url, size=1, name="atelier-seed")
    try:
        return await keys.find(database, keys.digest(known.api_key)) is not None
    finally:
        await database.close()


async def _organization(settings: Settings, name: str, plan: str, notify_email: str) -> str:
    """Returns the new key."""
    database = Database(settings.database_url, size=1, name="atelier-seed")
    system = SystemDatabase(settings.database_system_url, size=1, name="atelier-seed")
    try:
        async with system.system_transaction() as tx:
            organization = await organizations.create(tx, name, plan=plan, notify_email=notify_email)
            await credits.grant(tx, organization.id, (await plans.get(tx, plan)).monthly_credits)
        async with database.transaction(organization.id) as tx:
            return (await keys.create(tx, organization.id, name="demo", wanted=scopes.ALL)).secret
    finally:
        await database.close()
        await system.close()

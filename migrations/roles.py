"""The three roles and the database itself: made once, by a role that may (`ATELIER_DATABASE_ADMIN_URL`)."""

import asyncpg
from sqlalchemy.engine import URL, make_url

from runtime import database

OWNER, APP, SYSTEM = "atelier_owner", "atelier_app", "atelier_system"
_ATTRIBUTES = "nosuperuser nobypassrls nocreatedb nocreaterole"


async def create(admin_url: str, *, owner_url: str, app_url: str, system_url: str) -> None:
    """Idempotent. The roles' passwords are taken from their addresses; all three must name the same database."""
    addresses = {OWNER: make_url(owner_url), APP: make_url(app_url), SYSTEM: make_url(system_url)}
    name = addresses[OWNER].database or "atelier"
    admin = await database.connect(admin_url, name="atelier-migrate")
    try:
        for role, address in addresses.items():
            await _create_role(admin, address.username or role, address)
        await _grant_membership(admin, addresses)
        if not await admin.fetchval("select exists(select from pg_database where datname = $1)", name):
            await admin.execute(f'create database "{name}" owner "{addresses[OWNER].username}"')
    finally:
        await admin.close()


async def _create_role(admin: asyncpg.Connection, role: str, address: URL) -> None:
    if not await admin.fetchval("select exists(select from pg_roles where rolname = $1)", role):
        await admin.execute(f'create role "{role}" login {_ATTRIBUTES}')
    if address.password:
        statement = await admin.fetchval(
            "select format('alter role %I password %L', $1::text, $2::text)", role, address.password
        )
        await admin.execute(statement)


async def _grant_membership(admin: asyncpg.Connection, addresses: dict[str, URL]) -> None:
    """The owner may act as the system role: for data migrations, and to hand it the SECURITY DEFINER functions."""
    await admin.execute(f'grant "{addresses[SYSTEM].username}" to "{addresses[OWNER].username}"')

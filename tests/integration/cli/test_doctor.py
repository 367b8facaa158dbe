"""What the doctor says of whole and of broken installations: of real servers, files and processes."""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta

import asyncpg
import msgspec
import pytest

from cli import contract, doctor
from cli.checks import configuration, database, finding, rendering, services
from cli.checks.finding import Subject
from cli.contract import Contract
from domain.tasks import claims
from migrations import roles
from runtime import clock
from runtime.child import Confinement
from runtime.settings import Secret, Settings
from tests.smtp_server import smtp_server


def of(settings: Settings, running: Contract | None = None, **changes: object) -> Subject:
    return Subject(settings=msgspec.structs.replace(settings, **changes), running=running)


def states(found: list[finding.Finding], part: str = "") -> list[str]:
    return [each.state for each in found if part in {"", each.part}]


def says(found: list[finding.Finding]) -> str:
    return "\n".join(f"{each.part}: {each.says} → {each.advice}" for each in found)


@pytest.fixture
async def owner(settings):
    """May change tables."""
    opened = await asyncpg.connect(settings.database_owner_url)
    yield opened
    await opened.close()


def test_a_machine_on_which_nothing_runs_yet_is_healthy(tmp_path):
    fresh = Settings(data_dir=tmp_path / "var", port=0, operator_port=0)
    found = asyncio.run(doctor.examine(fresh))
    assert "bad" not in states(found), says(found)
    parts = {"settings", "installation", "PostgreSQL", "Redis", "storage", "mail", "rendering", "fonts", "outbound"}
    assert parts <= {each.part for each in found}
    assert not (tmp_path / "var").exists()


async def test_what_is_broken_is_said_with_what_to_do_and_by_the_exit_status(atelier):
    answer = await atelier("doctor")
    assert answer.status == 1
    assert "✓ schema" in answer.out
    assert "✗ mail" in answer.out
    assert "→ set ATELIER_SMTP_URL" in answer.out
    assert answer.out.endswith(" to mend.\n")
    report = (await atelier("doctor", "--json")).json
    assert report["healthy"] is False
    assert {"part", "state", "says", "advice"} == set(report["findings"][0])


async def test_a_migrated_database_is_all_right(settings, organization):
    found = await database.everything(of(settings))
    for part in ("PostgreSQL", "schema", "tenancy", "clock"):
        assert set(states(found, part)) == {"good"}, says(found)


async def test_a_server_that_may_lose_commits_is_told(settings):
    """The one of the tests does, for speed."""
    found = await database.everything(of(settings))
    assert states(found, "durability") == ["bad"]
    assert "fsync" in says(found)


async def test_without_a_relay_nothing_is_worked_on(settings, ledger):
    found = await database.everything(of(settings))
    assert states(found, "relay") == ["bad"]
    leader = await asyncpg.connect(settings.database_system_url)
    await leader.execute("select pg_advisory_lock(hashtext('atelier.relay'))")
    assert states(await database.everything(of(settings)), "relay") == ["good"]
    async with ledger.database.transaction(ledger.organization) as tx:
        await tx.exec_driver_sql(
            "insert into events (organization_id, id, type, version, subject, correlation_id, data, occurred_at) "
            f"values ('{ledger.organization}', 'evt_0', 'moon.landed', 1, 'x', 'x', '{{}}', now() - interval '1 hour')"
        )
        await tx.exec_driver_sql(f"insert into pending_events values ('evt_0', '{ledger.organization}', 'moon.landed')")
    found = await database.everything(of(settings))
    assert states(found, "relay") == ["bad"]
    assert "an event has waited for 36" in says(found)
    await leader.close()


async def test_what_waits_for_a_person_is_worth_a_note(settings, ledger):
    task = await ledger.running()
    async with ledger.database.transaction(ledger.organization) as tx:
        await claims.bury(tx, task, reason="tests")
    found = await database.everything(of(settings))
    assert states(found, "dead letters") == ["note"]
    assert "1 wait for a person" in says(found)


async def test_a_database_of_another_release_is_told(settings, servers, owner):
    await owner.execute("update alembic_version set version_num = '0000'")
    found = await database.everything(of(settings))
    assert states(found, "schema") == ["bad"]
    assert "run `atelier migrate`" in says(found)


async def test_an_empty_database_is_told(settings, servers, database_name):
    admin = await asyncpg.connect(servers.admin_url)
    await admin.execute(f"create database {database_name}_empty owner {roles.OWNER}")
    empty = {
        f"database_{name}": servers.database_url(role, f"{database_name}_empty")
        for name, role in (("url", roles.APP), ("system_url", roles.SYSTEM))
    }
    found = await database.everything(of(settings, **empty))
    assert "the database has no schema" in says(found)
    await admin.execute(f"drop database {database_name}_empty with (force)")
    await admin.close()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("alter table files no force row level security", "row-level security is not forced on files"),
        ("alter table assets disable row level security", "row-level security is not forced on assets"),
        ("create policy open on organizations to atelier_app using (true)", "rows are seen without an organization"),
    ],
)
async def test_a_gap_in_tenancy_is_told(change, told, settings, owner, organization):
    await owner.execute(change)
    found = await database.everything(of(settings))
    assert states(found, "tenancy") == ["bad"]
    assert told in says(found)


async def test_roles_that_tenancy_does_not_bind_are_told(settings):
    swapped = of(settings, database_url=settings.database_owner_url)
    found = await database.everything(swapped)
    assert states(found, "PostgreSQL") == ["bad", "good"]


async def test_a_clock_that_is_off_is_told(settings, monkeypatch):
    now = clock.machine
    monkeypatch.setattr(clock, "machine", lambda: now() + timedelta(minutes=1))
    found = await database.everything(of(settings))
    assert states(found, "clock") == ["bad"]
    assert "60.0 s away" in says(found)


@pytest.mark.parametrize("part", ["PostgreSQL", "Redis"])
async def test_what_cannot_be_reached_is_told_and_no_password_with_it(part, settings):
    nowhere = {
        "database_url": Secret("postgresql://atelier_app:correct-horse@127.0.0.1:1/atelier"),
        "database_system_url": Secret("postgresql://atelier_system:correct-horse@127.0.0.1:1/atelier"),
        "redis_url": Secret("redis://:correct-horse@127.0.0.1:1/0"),
    }
    subject = of(settings, **nowhere)
    found = [each for each in await doctor.examine(subject.settings) if each.part == part]
    assert states(found) == ["bad"]
    assert "ATELIER_" in says(found)
    assert "correct-horse" not in says(found)


async def test_a_part_that_never_answers_does_not_hold_up_the_rest(settings, monkeypatch):
    monkeypatch.setattr(finding, "PATIENCE", 0.05)

    async def hang() -> list[finding.Finding]:
        await asyncio.sleep(60)
        return []

    (found,) = await finding.guarded("Redis", hang(), settings, "is it running?")
    assert (found.state, found.says, found.advice) == ("bad", "no answer within 0.05 s", "is it running?")


async def test_redis_says_its_version_and_its_absence_is_told(settings):
    assert states(await services.queue(of(settings))) == ["good"]
    assert states(await services.queue(of(settings, redis_url=Secret("")))) == ["bad"]


async def test_rabbitmq_says_its_version_and_redis_is_not_missed(settings, rabbitmq):
    """Without a queue of its own, which would be a change."""
    given = {"broker": "rabbitmq", "rabbitmq_url": Secret(rabbitmq.url), "redis_url": Secret("")}
    found = await doctor.examine(of(settings, **given).settings)
    assert states(found, "RabbitMQ") == ["good"]
    assert states(found, "Redis") == []


async def test_a_rabbitmq_that_is_away_is_told_and_no_password_with_it(settings):
    nowhere = of(settings, broker="rabbitmq", rabbitmq_url=Secret("amqp://me:correct-horse@127.0.0.1:1/"))
    found = [each for each in await doctor.examine(nowhere.settings) if each.part in {"RabbitMQ", "Redis"}]
    assert states(found) == ["bad", "good"]
    assert "ATELIER_RABBITMQ_URL" in says(found)
    assert "correct-horse" not in says(found)


async def test_a_store_is_written_to(settings, tmp_path):
    assert states(await services.store(of(settings))) == ["good"]
    assert states(await services.store(of(settings, storage="memory"))) == ["note"]
    (tmp_path / "file").write_text("no folder")
    blocked = of(settings, storage_dir=tmp_path / "file" / "store")
    found = await finding.guarded("storage", services.store(blocked), settings)
    assert states(found) == ["bad"]


async def test_the_mail_server_is_asked_and_nothing_is_sent(settings):
    async with smtp_server(auth=True) as server:
        url = Secret(f"smtp://me:right@127.0.0.1:{server.port}?starttls=0")
        assert states(await services.mail(of(settings, smtp_url=url))) == ["good"]
        wrong = Secret(f"smtp://me:wrong@127.0.0.1:{server.port}?starttls=0")
        found = await services.mail(of(settings, smtp_url=wrong))
        assert states(found) == ["bad"]
        assert "wrong" not in says(found)
        assert server.messages == []
    assert states(await services.mail(of(settings, smtp_url=url))) == ["bad"]


async def test_processes_that_are_gone_and_ports_that_are_silent_are_told(settings):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    whole = dict.fromkeys(Contract.__struct_fields__, "") | {
        "base_url": "http://127.0.0.1:1",
        "operator_url": "http://127.0.0.1:1",
        "metrics_urls": ["http://127.0.0.1:1/metrics"],
    }
    alone = Contract(**whole | {"pids": {"api": os.getpid()}})
    found = await services.installation(of(settings, alone))
    assert states(found) == ["good", "bad", "bad", "bad"]
    gone = Contract(**whole | {"pids": {"api": os.getpid(), "relay": ended.pid}})
    (found,) = await services.installation(of(settings, gone))
    assert (found.state, found.says) == ("bad", "relay is gone")


async def test_a_port_that_is_taken_is_worth_a_note(settings):
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = await services.installation(of(settings, port=port))
    assert states(found, "ports") == ["note"]
    server.close()
    await server.wait_closed()
    assert states(await services.installation(of(settings, port=port)), "ports") == []


async def test_a_child_draws_and_says_how_far_it_is_confined(settings):
    found = await rendering.children(of(settings))
    assert states(found, "rendering") == ["good"]
    assert "draws 256 x 256 pixels" in says(found)


def test_each_confinement_that_is_lacking_is_a_note():
    assert [each.state for each in rendering.confinement(Confinement())] == ["note"] * 4
    whole = Confinement(no_network=True, dies_with_parent=True, memory_limit=True, cpu_limit=True)
    assert [each.state for each in rendering.confinement(whole)] == ["good"]


async def test_font_packs_are_named_by_what_they_lack(settings, tmp_path):
    assert states(await rendering.fonts(of(settings))) == ["good", "note"]
    assert states(await rendering.fonts(of(settings, fonts_dir=tmp_path / "nowhere"))) == ["bad"]
    (tmp_path / "NotoColorEmoji.ttf").write_bytes(b"")
    found = await rendering.fonts(of(settings, fonts_dir=tmp_path))
    assert states(found) == ["good", "note"]
    assert "1 more" in found[0].says
    assert "CJK" in found[1].says


async def test_keys_that_are_missing_or_malformed_are_told(settings):
    assert states(await configuration.settings(of(settings)))[:1] == ["note"]
    missing = await configuration.settings(of(settings, signing_keys=Secret(""), operator_token=Secret("")))
    assert states(missing)[:2] == ["bad", "bad"]
    malformed = await configuration.settings(of(settings, encryption_keys=Secret("k1:short")))
    assert "bad" in states(malformed)
    assert "short" not in says(malformed)
    public = of(settings, public_url="https://images.customer.example")
    assert states(await configuration.settings(public)) == ["good"]


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [("", ["good"]), ("10.0.0.0/8", ["good"]), ("169.254.0.0/16", ["bad"]), ("nonsense", ["bad"])],
)
async def test_networks_that_customers_must_not_reach_are_told(allowed, expected, settings):
    subject = of(settings, outbound_allow=allowed)
    assert states(await finding.guarded("outbound", configuration.outbound_policy(subject), settings)) == expected


async def test_open_http_is_worth_a_note(settings):
    assert states(await configuration.outbound_policy(of(settings, webhook_insecure_http=True))) == ["good", "note"]


def test_a_running_installation_is_found_by_its_contract(tmp_path):
    written = Contract(
        base_url="http://127.0.0.1:1", operator_url="http://127.0.0.1:1", operator_token="t", api_key="k",
        second_api_key="k2", metrics_urls=[], database_url="postgresql://atelier_system@/atelier?host=/run/x",
        redis_url="unix:///run/x/redis.sock", mail_dir=str(tmp_path / "m"), storage_dir=str(tmp_path / "s"), pids={},
    )  # fmt: skip
    contract.write(tmp_path, written)
    subject = doctor.subject_of(Settings(data_dir=tmp_path))
    assert subject.settings.database_url == "postgresql://atelier_app@/atelier?host=/run/x"
    assert subject.settings.database_system_url == written.database_url
    assert (subject.settings.redis_url, subject.settings.storage_dir) == (written.redis_url, tmp_path / "s")
    assert subject.settings.broker == "redis"
    contract.write(tmp_path, msgspec.structs.replace(written, redis_url="", rabbitmq_url="amqp://me@host"))
    settings = doctor.subject_of(Settings(data_dir=tmp_path)).settings
    assert (settings.broker, settings.rabbitmq_url, settings.redis_url) == ("rabbitmq", "amqp://me@host", "")

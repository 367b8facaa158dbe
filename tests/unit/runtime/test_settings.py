import os
from pathlib import Path

import msgspec
import pytest

from runtime import settings
from runtime.settings import Secret, Settings, SettingsError


def load(env_file: Path = Path("/nowhere/.env"), **environment: str) -> Settings:
    return settings.load({f"ATELIER_{name.upper()}": value for name, value in environment.items()}, env_file)


def test_nothing_need_be_set():
    found = load()
    assert (found.host, found.port, found.storage) == ("127.0.0.1", 8000, "local")
    assert found.public_url == "http://127.0.0.1:8000"
    assert found.storage_dir == Path("var/storage")
    assert found.mail_dir == Path("var/mail")


@pytest.mark.parametrize(("cores", "children"), [(None, 2), (1, 2), (2, 3), (4, 6)])
def test_a_worker_draws_in_three_processes_for_each_two_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, children: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert load().image_workers == children
    assert load(image_workers="1").image_workers == 1


def test_text_becomes_numbers_flags_and_paths():
    found = load(port="9000", lease_seconds="2.5", webhook_insecure_http="true", data_dir="/srv/atelier")
    assert (found.port, found.lease_seconds, found.webhook_insecure_http) == (9000, 2.5, True)
    assert found.storage_dir == Path("/srv/atelier/storage")


def test_a_given_folder_is_not_replaced_by_the_default():
    assert load(data_dir="/a", storage_dir="/b/images").storage_dir == Path("/b/images")


def test_other_programs_variables_are_not_looked_at():
    assert settings.load({"PORT": "1", "HOME": "/root"}, Path("/nowhere/.env")) == load()


def test_the_environment_is_read_when_nothing_else_is_given(monkeypatch):
    monkeypatch.setenv("ATELIER_PORT", "8123")
    assert settings.load(env_file=Path("/nowhere/.env")).port == 8123


def test_the_environment_wins_over_the_file(tmp_path):
    file = tmp_path / ".env"
    file.write_text("ATELIER_PORT=7000\nATELIER_HOST=0.0.0.0\nOTHER=1\n")
    found = load(file, port="9000")
    assert (found.port, found.host) == (9000, "0.0.0.0")


def test_what_the_caller_says_wins_over_both():
    assert settings.load({"ATELIER_PORT": "9000"}, Path("/nowhere/.env"), port=9100).port == 9100


def test_an_empty_variable_counts_as_not_set():
    assert load(port="", database_url="").port == 8000


def test_an_unknown_setting_is_refused_by_name():
    with pytest.raises(SettingsError, match="ATELIER_PROT is not a setting"):
        load(prot="9000")


def test_the_switches_of_tests_are_settings_too():
    assert load(failpoints="relay.after_commit=kill", failpoints_dir="/tmp/hits").failpoints_dir == Path("/tmp/hits")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"port": "many"}, "ATELIER_PORT: "),
        ({"storage": "tape"}, "ATELIER_STORAGE: "),
        ({"webhook_insecure_http": "perhaps"}, "ATELIER_WEBHOOK_INSECURE_HTTP: "),
        ({"port": "8001"}, "ATELIER_OPERATOR_PORT"),
        ({"lease_seconds": "1"}, "ATELIER_LEASE_SECONDS must be at least 2"),
        ({"memory_limit": "1000"}, "ATELIER_MEMORY_LIMIT must be 0 or at least 268435456"),
        ({"hang_seconds": "0.5"}, "ATELIER_HANG_SECONDS must be 0 or at least 2"),
        ({"signing_keys": "short"}, "ATELIER_SIGNING_KEYS: one of them is too short"),
        ({"signing_keys": f"{'long' * 8}, short"}, "ATELIER_SIGNING_KEYS: one of them is too short"),
        ({"broker": "rabbitmq", "rabbitmq_url": "http://queue"}, "ATELIER_RABBITMQ_URL must begin with amqp://"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given, said):
    with pytest.raises(SettingsError, match=said):
        load(**given)


def test_a_refusal_does_not_repeat_a_secret():
    with pytest.raises(SettingsError) as refused:
        load(signing_keys="hunter2")
    assert "hunter2" not in str(refused.value)


def test_one_address_serves_all_roles():
    found = load(database_url="postgresql://atelier_app:s%40fe@db.internal:5432/atelier?sslmode=require")
    assert found.database_system_url == "postgresql://atelier_system:s%40fe@db.internal:5432/atelier?sslmode=require"
    assert found.database_owner_url == "postgresql://atelier_owner:s%40fe@db.internal:5432/atelier?sslmode=require"
    assert found.database_admin_url == ""


def test_a_unix_socket_address_serves_all_roles():
    found = load(database_url="postgresql://atelier_app@/atelier?host=/run/postgresql")
    assert found.database_system_url == "postgresql://atelier_system@/atelier?host=/run/postgresql"


def test_a_role_s_own_address_is_kept():
    found = load(database_url="postgresql://atelier_app@a/x", database_system_url="postgresql://sys:pw@b/x")
    assert found.database_system_url == "postgresql://sys:pw@b/x"


def test_the_settings_show_no_secret_when_printed():
    found = load(
        database_url="postgresql://atelier_app:hunter2@db/atelier",
        smtp_url="smtp://user:hunter2@mail",
        signing_keys="hunter2" * 8,
        encryption_keys="a:hunter2",
        redis_url="redis://:hunter2@cache",
        rabbitmq_url="amqp://atelier:hunter2@queue",
        operator_token="hunter2",
    )
    assert "hunter2" not in repr(found)
    assert found.operator_token == "hunter2"


def test_a_secret_is_still_text_where_it_is_used():
    assert f"{Secret('pw')}" == "pw"
    assert repr(Secret("pw")) == "'***'"


def test_the_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        load().port = 1  # type: ignore[misc]


def test_settings_can_be_replaced_for_one_process():
    assert msgspec.structs.replace(load(), port=9000).port == 9000


def test_reading_settings_changes_no_environment(monkeypatch, tmp_path):
    file = tmp_path / ".env"
    file.write_text("ATELIER_PORT=7000\n")
    before = dict(os.environ)
    settings.load({}, file)
    assert dict(os.environ) == before

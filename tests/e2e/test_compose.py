"""compose.yaml: it fits the specification, gives nothing away, and its commands start, get healthy and stop."""

import asyncio
import base64
import re
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import yaml

from cli import installation
from runtime.settings import PREFIX, Settings
from tests.e2e import compose_file, plain_processes
from tests.e2e.compose_file import COMPOSE, ROOT

ADDRESSES = {
    "PUBLIC_URL": "https://images.example.com",
    "SMTP_URL": "smtp://mail.example.com:587",
    "MAIL_FROM": "Atelier <images@example.com>",
}


@pytest.fixture(scope="session")
def variables() -> dict[str, str]:
    """What `deploy/make-env` prints, with the addresses that a person fills in."""
    printed = subprocess.run([ROOT / "deploy/make-env"], capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", printed, re.MULTILINE)) | ADDRESSES


@pytest.fixture(scope="session")
def services(variables):
    return compose_file.services(variables)


@pytest.fixture(scope="session")
def ours(services):
    """The services made from our image."""
    return {name: service for name, service in services.items() if "build" in service}


def test_it_fits_the_specification():
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_every_role_is_there(services):
    assert {"postgres", "redis", "migrate", "api", "relay", "worker-images", "worker-io", "prometheus"} == set(services)


def test_a_missing_secret_stops_it_with_a_line_that_says_what_to_do(variables):
    for name, kind in compose_file.variables().items():
        assert kind in {":?", ":-"}
        if kind == ":?":
            with pytest.raises(compose_file.MissingVariableError, match=f"^{name}: .*(deploy/make-env|example)"):
                compose_file.services({**variables, name: ""})


def test_the_made_secrets_are_good_ones_and_all_that_is_asked_for(variables):
    required = {name for name, kind in compose_file.variables().items() if kind == ":?"}
    assert required <= set(variables)
    assert len(set(variables.values())) == len(variables)
    assert len(variables["SIGNING_KEYS"]) >= 32
    assert len(base64.b64decode(variables["ENCRYPTION_KEYS"].removeprefix("k1:"))) == 32
    assert all(re.fullmatch(r"\w+", variables[name]) for name in required if name.endswith("_PASSWORD"))


def test_no_container_has_more_power_than_it_needs(services):
    for service in services.values():
        assert service["user"] not in {"root", "0", "0:0"}
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service


def test_only_the_api_is_reachable_and_only_from_this_machine(services):
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"]}


def test_databases_and_relay_have_no_way_out(services):
    networks = yaml.safe_load(COMPOSE.read_text())["networks"]
    assert networks["inside"]["internal"] is True
    assert {name for name, service in services.items() if service["networks"] == ["inside"]} >= {
        "postgres",
        "redis",
        "migrate",
        "relay",
    }


def test_each_service_holds_the_secrets_that_it_uses_and_no_others(ours):
    holders = {
        "ATELIER_DATABASE_ADMIN_URL": {"migrate"},
        "ATELIER_DATABASE_OWNER_URL": {"migrate"},
        "ATELIER_OPERATOR_TOKEN": {"api"},
        "ATELIER_SMTP_URL": {"worker-io"},
        "ATELIER_ENCRYPTION_KEYS": {"api", "worker-io"},
        "ATELIER_SIGNING_KEYS": {"api", "worker-io"},
    }
    for secret, names in holders.items():
        assert {name for name, service in ours.items() if secret in service["environment"]} == names
    for setting, names in installation.HOLDERS.items():
        held = {name for name, service in ours.items() if f"{PREFIX}{setting.upper()}" in service["environment"]}
        assert held - {"migrate"} <= names, "no more than beside each other on one machine"


def test_every_name_in_the_environment_is_a_setting(ours):
    known = {f"{PREFIX}{name.upper()}" for name in Settings.__struct_fields__}
    assert [key for service in ours.values() for key in service["environment"] if key not in known] == []


def test_each_service_that_stays_says_whether_it_is_healthy(services):
    for name, service in services.items():
        assert ("healthcheck" in service) == (name != "migrate")


def test_a_service_waits_for_what_it_needs_and_the_api_does_not_need_redis(services):
    order = compose_file.start_order(services)
    for name in ("api", "relay", "worker-images", "worker-io"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert order.index("postgres") < order.index("migrate") < order.index(name)
    for service in services.values():
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[needed]
    assert "redis" not in services["api"]["depends_on"]


def test_volumes_and_networks_are_declared_and_files_exist(services):
    whole = yaml.safe_load(COMPOSE.read_text())
    for service in services.values():
        assert set(service["networks"]) <= set(whole["networks"])
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (ROOT / source).is_file() if source.startswith(".") else source in whole["volumes"]


def test_the_image_runs_as_nobody_from_packages_checked_by_their_hashes():
    text = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes" in text
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    copied = set(re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE))
    assert copied == {"api", "cli", "domain", "migrations", "queue_config", "runtime", "storage", "workers"}
    let_in = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert let_in == copied | {"requirements/run.txt"}


async def test_the_commands_start_in_order_get_healthy_by_their_own_checks_and_stop(services, servers, tmp_path):
    admin = await asyncpg.connect(servers.admin_url)
    try:
        with plain_processes.of(services, servers, tmp_path) as processes:
            for name in filter(processes.__contains__, compose_file.start_order(services)):
                process = processes[name]
                process.start()
                if "healthcheck" not in services[name]:
                    assert await process.wait(plain_processes.PATIENCE) == 0, process.output()
            running = [process for name, process in processes.items() if "healthcheck" in services[name]]
            assert len(running) == 4
            await asyncio.gather(*(process.wait_until_healthy() for process in running))
            endings = await asyncio.gather(*(process.stop() for process in running))
            assert dict(zip((process.name for process in running), endings, strict=True)) == {
                process.name: 0 for process in running
            }
            assert not any(process.healthy() for process in running)
    finally:
        await admin.execute("drop database if exists atelier with (force)")
        await admin.close()

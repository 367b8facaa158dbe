"""A real Prometheus takes the alerts as they are, scrapes a running installation, and says what it should."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml

from tests.e2e.compose_file import ROOT
from tests.e2e.running import Up

JOBS = ("api", "relay", "worker-images", "worker-io")
PATIENCE = 60.0


@pytest.fixture(scope="module")
def tools() -> None:
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        pytest.skip("there is no Prometheus here (Debian: prometheus)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Prometheus:
    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def ask(self, path: str) -> Any:
        async with self._session.get(f"{self._url}/api/v1/{path}", raise_for_status=True) as answer:
            return (await answer.json())["data"]

    async def rules(self) -> list[dict[str, Any]]:
        return [rule for group in (await self.ask("rules"))["groups"] for rule in group["rules"]]

    async def firing(self) -> set[tuple[str, str]]:
        """Names of alerts with the instance they speak of."""
        alerts = (await self.ask("alerts"))["alerts"]
        return {(alert["labels"]["alertname"], alert["labels"].get("instance", "")) for alert in alerts}


def written(folder: Path, up: Up, gone: str) -> Path:
    """The shipped rules without their patience, and a worker that does not answer."""
    rules = yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = "0s"
    (folder / "alerts.yml").write_text(yaml.safe_dump(rules))
    targets = {job: [urlsplit(url).netloc] for job, url in zip(JOBS, up.contract.metrics_urls, strict=True)}
    targets["worker-io"].append(gone)
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": addresses}]} for job, addresses in targets.items()
        ],
    }
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def gone() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
async def prometheus(tools: None, up: Up, gone: str, tmp_path: Path) -> AsyncIterator[Prometheus]:
    address = f"127.0.0.1:{free_port()}"
    command = (
        "prometheus",
        f"--config.file={written(tmp_path, up, gone)}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        async with aiohttp.ClientSession() as session:
            yield Prometheus(f"http://{address}", session)
    finally:
        process.terminate()
        process.wait(20)


async def has_settled(prometheus: Prometheus, told: set[tuple[str, str]]) -> bool:
    """Whether it has scraped everything, evaluated every rule, and tells of processes what it should. At first nothing
    is scraped, and so every service is gone.
    """
    try:
        about_processes = {alert for alert in await prometheus.firing() if alert[0] in {"ProcessDown", "ServiceGone"}}
        return about_processes == told and all(rule["health"] == "ok" for rule in await prometheus.rules())
    except aiohttp.ClientError:  # it has just been started
        return False


def test_the_configuration_that_is_shipped_is_one(tools: None) -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", ROOT / "deploy/prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "SUCCESS" in checked.stdout


async def test_every_process_is_scraped_every_rule_is_evaluated_and_only_what_is_wrong_is_told(
    prometheus: Prometheus, gone: str
) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await has_settled(prometheus, {("ProcessDown", gone)}):
            await asyncio.sleep(0.1)
    found = {target["scrapeUrl"]: target for target in (await prometheus.ask("targets"))["activeTargets"]}
    assert [url for url, target in found.items() if target["health"] != "up"] == [f"http://{gone}/metrics"]
    errors = {rule["name"]: rule.get("lastError") for rule in await prometheus.rules()}
    assert {name: error for name, error in errors.items() if error} == {}
    leading = await prometheus.ask("query?query=sum(atelier_relay_leading)")
    assert leading["result"][0]["value"][1] == "1"

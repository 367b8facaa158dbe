"""What a running installation shows of itself: metrics, log lines, traces; and what it never shows."""

import asyncio
import base64
import re
import secrets
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.compose_file import ROOT
from tests.e2e.conftest import SECRETS
from tests.e2e.customer import Customer
from tests.e2e.running import Command, Up, eventually

PROCESSES = ("api", "relay", "worker-images", "worker-io")
PLANTED = "a-planted-database-password"
JSON = {"Content-Type": "application/json"}

Samples = dict[str, dict[str, float]]
"""By the name of the process, then by metric and labels as Prometheus writes them."""


async def scrape(up: Up) -> Samples:
    shown: Samples = {}
    async with aiohttp.ClientSession() as session:
        for name, url in zip(PROCESSES, up.contract.metrics_urls, strict=True):
            async with session.get(url) as answer:
                families = text_string_to_metric_families(await answer.text())
                shown[name] = {_written(sample): sample.value for family in families for sample in family.samples}
    return shown


def _written(sample: Any) -> str:
    labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}}" if labels else str(sample.name)


@pytest.fixture
async def busy(up: Up, customer: Customer) -> Samples:
    """Metrics after some traffic, a refusal and a slow statement."""
    generations = await customer.post_many(3)
    async with customer.session.get("/v1/generations/gen_nothing") as answer:
        assert answer.status == 404
    await post_behind_a_lock(customer)
    await customer.wait_until_done(generations)
    await asyncio.sleep(1.2)  # the relay takes its samples each second
    return await scrape(up)


async def post_behind_a_lock(customer: Customer) -> None:
    async with customer.books.transaction():
        await customer.books.execute("lock table credit_accounts in share row exclusive mode")
        waiting = asyncio.create_task(customer.post())
        await asyncio.sleep(0.4)
    await customer.wait_until_done([await waiting])


async def test_every_metric_is_documented_and_every_documented_one_is_shown(up: Up) -> None:
    tables = re.findall(r"^\| (`atelier_.*?) \|", (ROOT / "docs/telemetry.md").read_text(), re.MULTILINE)
    documented = set(re.findall(r"`(atelier_\w+)`", " ".join(tables)))
    async with aiohttp.ClientSession() as session:
        texts = [await (await session.get(url)).text() for url in up.contract.metrics_urls]
    declared = set(re.findall(r"^# TYPE (atelier_\w+)", "".join(texts), re.MULTILINE))
    assert declared == documented


async def test_the_metrics_move_with_what_happens(busy: Samples) -> None:
    route = 'method="POST",route="/v1/generations"'
    moved = {
        "api": [
            f'atelier_http_requests_total{{{route},status="202"}}',
            f"atelier_http_request_seconds_count{{{route}}}",
            'atelier_http_requests_total{method="GET",route="/v1/generations/{generation_id}",status="404"}',
            'atelier_http_problems_total{code="generation_not_found"}',
            'atelier_slow_statements_total{pool="app"}',
            'atelier_credits_total{kind="hold"}',
            'atelier_pool_limit{pool="app"}',
        ],
        "relay": ["atelier_relay_leading", "atelier_events_expanded_total", "atelier_relay_step_seconds_count"],
        "worker-images": [
            'atelier_claims_total{result="claimed"}',
            'atelier_task_seconds_count{actor="generations.render",outcome="done"}',
            'atelier_task_wait_seconds_count{actor="generations.render"}',
            'atelier_render_seconds_count{template="badge"}',
            "atelier_storage_put_seconds_count",
            'atelier_credits_total{kind="settle"}',
            'atelier_messages_taken_total{queue="images"}',
        ],
        "worker-io": [
            'atelier_task_seconds_count{actor="webhooks.deliver",outcome="done"}',
            'atelier_webhook_attempts_total{outcome="delivered"}',
            "atelier_webhook_attempt_seconds_count",
            'atelier_task_seconds_count{actor="notifications.mail",outcome="done"}',
        ],
    }
    still = [f"{process}: {name}" for process, names in moved.items() for name in names if not busy[process].get(name)]
    assert still == []


async def test_what_may_be_nothing_is_shown_all_the_same(busy: Samples) -> None:
    relay = busy["relay"]
    for queue in ("images", "lifecycle", "webhooks", "mail"):
        assert f'atelier_oldest_task_seconds{{queue="{queue}"}}' in relay
        assert all(f'atelier_tasks{{queue="{queue}",state="{state}"}}' in relay for state in ("ready", "running"))
    dead = {'atelier_dead_letters{actor="generations.render"}', "atelier_oldest_dead_letter_seconds"}
    assert {'atelier_events{state="pending"}', "atelier_relay_lag_seconds", *dead} <= set(relay)
    for samples in busy.values():
        assert samples["process_cpu_seconds_total"] > 0
        assert samples["process_resident_memory_bytes"] > 10_000_000
    for process in ("api", "worker-images", "worker-io"):
        assert 'atelier_pool_connections{pool="app",state="in_use"}' in busy[process]


def lines(up: Up, name: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in up.log(name).splitlines()]


async def test_one_trace_leads_from_the_request_through_every_process_to_the_webhook(
    up: Up, customer: Customer
) -> None:
    trace = secrets.token_hex(16)
    request_id = f"asked-{trace[:8]}"
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01", "X-Request-Id": request_id}
    generation = await customer.post(**headers)
    await customer.wait_until_done([generation])
    told = [hook for hook in customer.webhooks.requests if generation in hook.body.decode()]
    assert len(told) >= 2
    assert {hook.headers["traceparent"].split("-")[1] for hook in told} == {trace}
    await eventually(lambda: up.log("worker-io").count(trace) >= 3)
    seen = {name: [line for line in lines(up, name) if line.get("trace_id") == trace] for name in PROCESSES}
    (request,) = seen["api"]
    assert (request["message"], request["request_id"], request["status"]) == ("request", request_id, 202)
    assert {line["actor"] for line in seen["worker-io"]} == {"webhooks.deliver", "notifications.mail"}
    (render,) = [line for line in seen["worker-images"] if line["message"] == "task"]
    assert (render["actor"], render["organization"]) == ("generations.render", request["organization"])
    assert render["event"].startswith("evt_")
    assert render["task"].isdigit()


async def test_every_line_of_every_log_is_json_with_the_same_first_fields(up: Up, customer: Customer) -> None:
    await customer.wait_until_done(await customer.post_many(2))
    for name in (*PROCESSES, "up"):
        for line in lines(up, name):
            assert list(line)[:5] == ["time", "level", "message", "source", "process"], (name, line)
            assert line["process"].startswith(name)


async def test_no_log_shows_a_secret(up: Up, customer: Customer) -> None:
    """They are carried to every place where a careless line could write them down."""
    made = msgspec.json.decode((up.data / "secrets.json").read_bytes())
    contract = up.contract
    encryption_key = made["encryption_keys"].partition(":")[2]
    hidden = [contract.api_key, contract.second_api_key, customer.secret, encryption_key, *SECRETS.values()]
    for secret in hidden:
        for path in (f"/v1/generations?key={secret}", f"/v1/generations/{secret}", f"/v1/{secret}"):
            await refused(customer, "GET", path)
        await refused(customer, "GET", "/v1/usage", headers={"Authorization": f"Bearer {secret}x", "Cookie": secret})
        await refused(customer, "POST", "/v1/generations", data=f'{{"{secret}": ', headers=JSON)
        await refused(customer, "POST", "/v1/generations", json={"template": "badge", secret: secret})
        # A secret that begins with a slash would end the host before it, and the address would be taken: hence the x.
        address = f"http://u:x{secret}@127.0.0.1:1/{secret}"
        await refused(customer, "POST", "/v1/webhook-endpoints", json={"url": address})
    generation = await customer.post(**{"X-Request-Id": contract.second_api_key})
    await customer.wait_until_done([generation])
    for log in (up.data / "log").iterdir():
        text = log.read_text(errors="replace")
        assert [secret for secret in hidden if secret in text] == [], log.name


async def refused(customer: Customer, method: str, path: str, **options: Any) -> None:
    async with customer.session.request(method, path, **options) as answer:
        assert answer.status in {200, 400, 401, 404, 422}, await answer.text()  # nothing is made


@pytest.mark.parametrize("command", ["api", "relay"])
def test_a_process_that_cannot_reach_its_database_does_not_show_the_password(tmp_path: Path, command: str) -> None:
    address = f"postgresql://atelier_app:{PLANTED}@127.0.0.1:1/atelier"
    process = Command(
        tmp_path,
        command,
        database_url=address,
        redis_url="redis://127.0.0.1:1",
        encryption_keys=f"k1:{base64.b64encode(bytes(32)).decode()}",
        port="0",
        operator_port="0",
        **SECRETS,
    )
    try:
        assert process.wait() != 0
    finally:
        process.kill()
    assert "ConnectionRefusedError" in process.output
    assert PLANTED not in process.output

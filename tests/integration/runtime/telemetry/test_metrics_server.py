import asyncio
import json
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from runtime.telemetry import metrics, metrics_server
from runtime.telemetry.metrics_server import MetricsServer


@pytest.fixture
async def server() -> AsyncIterator[MetricsServer]:
    server = await metrics_server.serve("127.0.0.1", 0)
    yield server
    await server.close()


async def get(url: str, method: str = "GET") -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as client, client.request(method, url) as answer:
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def raw(server: MetricsServer, request: bytes) -> bytes:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_scrape_reads_the_metrics_of_this_process(server: MetricsServer) -> None:
    status, kind, text = await get(f"{server.url}/metrics?name=any")
    assert status == 200
    assert kind == metrics.CONTENT_TYPE
    assert "process_cpu_seconds_total" in text


async def test_a_living_process_says_so(server: MetricsServer) -> None:
    for path in ("live", "ready"):
        status, kind, text = await get(f"{server.url}/health/{path}")
        assert (status, kind) == (200, "application/json")
        assert json.loads(text) == {"status": "ok"}


async def test_an_ailing_process_says_why() -> None:
    server = await metrics_server.serve("127.0.0.1", 0, lambda: "a consumer has died")
    for path in ("live", "ready"):
        status, _, text = await get(f"{server.url}/health/{path}")
        assert status == 503
        assert json.loads(text)["reason"] == "a consumer has died"
    await server.close()


async def test_one_that_lives_and_cannot_work_just_now_is_not_ready() -> None:
    async def hindrance() -> str | None:
        return "the broker is away"

    server = await metrics_server.serve("127.0.0.1", 0, lambda: None, hindrance)
    assert (await get(f"{server.url}/health/live"))[0] == 200
    status, _, text = await get(f"{server.url}/health/ready")
    assert (status, json.loads(text)) == (503, {"status": "failing", "reason": "the broker is away"})
    await server.close()


async def test_a_process_that_does_not_find_out_in_time_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(metrics_server, "READY_TIMEOUT", 0.05)
    server = await metrics_server.serve("127.0.0.1", 0, lambda: None, hang)
    status, _, text = await get(f"{server.url}/health/ready")
    assert (status, json.loads(text)["reason"]) == (503, "it did not find out within 0.05 s")
    await server.close()


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("GET", "/metric", 404), ("POST", "/", 405)])
async def test_nothing_else_is_served(server: MetricsServer, method: str, path: str, status: int) -> None:
    assert (await get(server.url + path, method))[0] == status


async def test_a_head_request_gets_no_body(server: MetricsServer) -> None:
    head, _, body = (await raw(server, b"HEAD /metrics HTTP/1.1\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body == b""


@pytest.mark.parametrize("request_", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1 \r\n\r\n", b"x" * 100_000])
async def test_what_is_no_request_is_hung_up_on_and_the_server_goes_on(server: MetricsServer, request_: bytes) -> None:
    try:
        assert await raw(server, request_) == b""
    except ConnectionError:
        pass  # it hung up while more was being sent
    assert (await get(f"{server.url}/health/live"))[0] == 200


async def test_a_taken_port_is_exchanged_for_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = await metrics_server.serve("127.0.0.1", port)
        assert not server.url.endswith(f":{port}")
        assert (await get(f"{server.url}/health/live"))[0] == 200
        await server.close()


async def test_a_closed_server_answers_no_more() -> None:
    server = await metrics_server.serve("127.0.0.1", 0)
    await server.close()
    with pytest.raises(aiohttp.ClientConnectionError):
        await get(f"{server.url}/metrics")

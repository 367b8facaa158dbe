"""The trail of a generation, as JSON and as the page that a person sees."""

import asyncio
import re
import shutil
import tempfile
from datetime import datetime, timedelta

import pytest

from domain.notifications import dispatch
from domain.notifications.errors import ChannelUnavailableError
from domain.tasks import claims
from runtime import failpoints
from tests import http_server
from tests.integration.api.operator.conftest import BADGE, RENDER, rows, words

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


async def test_a_generation_is_followed_from_the_request_to_the_last_delivery(operator, receiver):
    endpoint = await operator.endpoint(receiver.url)
    headers = {"Idempotency-Key": "order-17", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    generation_id = await operator.post(**headers)
    await operator.spine.drain()
    trail = await operator.trail(generation_id)

    organization = operator.spine.organization
    assert trail["generation"]["status"] == "succeeded"
    assert (trail["organization_id"], trail["organization_name"]) == (organization.id, "Acme")
    assert trail["trace_id"] == TRACE
    assert trail["complete"] is True

    request = trail["request"]
    assert request["api_key"]["id"] == organization.key_id
    assert organization.key.startswith(request["api_key"]["prefix"])
    assert (request["idempotency_key"], request["price"], request["ms"]) == ("order-17", 1, 0)
    assert [(entry["kind"], entry["amount"]) for entry in trail["charges"]] == [("hold", 1), ("settle", 1)]

    assert [event["type"] for event in trail["events"]] == ["generation.accepted", "generation.succeeded"]
    assert [event["state"] for event in trail["events"]] == ["expanded", "expanded"]
    first, second = (event["position"] for event in trail["events"])
    assert 0 < first < second

    tasks = {(task["actor"], task["target"]): task for task in trail["tasks"]}
    assert [*tasks] == [(RENDER, ""), ("webhooks.deliver", endpoint), ("notifications.mail", "")]
    assert [task["state"] for task in trail["tasks"]] == ["done"] * 4
    for task in trail["tasks"]:
        assert task["owner"] == operator.spine.executor.owner
        assert min(task["relay_ms"], task["waited_ms"], task["ran_ms"]) >= 0
        assert task["ms"] <= task["started_ms"] <= task["ended_ms"]

    for delivery in trail["deliveries"]:
        assert (delivery["host"], delivery["status"]) == (f"127.0.0.1:{receiver.server.port}", "delivered")
        assert [attempt["status_code"] for attempt in delivery["attempts"]] == [204]
    [mail] = trail["mails"]
    assert (mail["kind"], mail["recipient"], mail["status"]) == ("image_ready", "s•••@customer.example", "sent")
    assert trail["total_ms"] == trail["asset"]["ms"] == trail["charges"][1]["ms"]


async def test_the_page_tells_it_on_one_time_line(operator, receiver):
    await operator.endpoint(receiver.url)
    page = await operator.page(f"/trail/{await operator.post(**{'Idempotency-Key': 'order-17'})}")
    assert 'http-equiv="refresh"' in page, "it is not over yet"
    await operator.spine.drain()
    page = await operator.page(f"/trail/{re.search('gen_[0-9a-z]+', page)[0]}")
    assert 'http-equiv="refresh"' not in page
    told = [re.sub(r"^[\d:.]+ ", "", row) for row in rows(page)[1:]]
    kinds = [re.match(r"\+[\d.]+ m?s (\w+) ([\w. ]+)", row).groups() for row in told]
    assert [kind for kind, _ in kinds[:3]] == ["request", "charge", "event"]
    ends = [what.split()[0] for kind, what in kinds if kind in ("charge", "asset", "event")]
    assert ends == ["held", "generation.accepted", "charged", "stored", "generation.succeeded"]
    assert {kind for kind, _ in kinds} == {"request", "charge", "asset", "event", "task", "attempt", "mail"}
    assert "Idempotency-Key order-17" in told[0]
    moments = [
        datetime.fromisoformat(moment) for moment in re.findall(r'<td class="at"><time datetime="([^"]+)"', page)
    ]
    assert moments == sorted(moments)
    assert page.count('class="b-relay"') == 4 + 1, "one for each task, and one in the legend"


async def test_the_picture_is_shown_through_a_signed_address(operator):
    generation_id = await operator.post()
    await operator.spine.drain()
    answer, page = await operator.ask(f"/trail/{generation_id}", **operator.bearer)
    source = re.search(r'<img src="(http[^"]+)"', page)[1].replace("&amp;", "&")
    assert source.startswith(f"{operator.api.url}/assets/")
    assert f"img-src 'self' {operator.api.url};" in answer.headers["content-security-policy"]
    async with operator.api.client.get(source) as picture:
        assert (picture.status, picture.content_type) == (200, "image/png")
        assert await picture.read()


async def test_a_webhook_that_fails_shows_each_attempt_and_the_next(operator, receiver):
    receiver.answers[:] = [http_server.response(b"the <b>database</b> is down", status=500)] * 2 + receiver.answers
    await operator.endpoint(f"{receiver.server.url}/hooks/a-secret-path?key=hushed")
    generation_id = await operator.post()
    await operator.spine.drain()
    accepted, succeeded = (await operator.trail(generation_id))["deliveries"]
    for delivery in (accepted, succeeded):
        assert (delivery["status"], delivery["attempts"][0]["status_code"]) == ("pending", 500)
        assert delivery["attempts"][0]["answer"] == "the <b>database</b> is down"
        assert datetime.fromisoformat(delivery["next_attempt_at"]) > datetime.fromisoformat(delivery["at"])
    page = await operator.page(f"/trail/{generation_id}")
    assert "the &lt;b&gt;database&lt;/b&gt; is down" in page
    assert "next try" in words(page)
    assert 'class="b-refused"' in page

    await operator.due()
    trail = await operator.trail(generation_id)
    assert [[each["status_code"] for each in delivery["attempts"]] for delivery in trail["deliveries"]] == [
        [500, 204]
    ] * 2
    failures = [task["failures"] for task in trail["tasks"] if task["actor"] == "webhooks.deliver"]
    assert [[failure["reason"] for failure in each] for each in failures] == [["answered 500"]] * 2
    page = await operator.page(f"/trail/{generation_id}")
    assert "a-secret-path" not in page, "a path may hold a secret"
    assert "hushed" not in page


async def test_a_delivery_that_is_sent_again_belongs_to_the_trail(operator, receiver):
    await operator.endpoint(receiver.url)
    generation_id = await operator.post()
    await operator.spine.drain()
    first = (await operator.trail(generation_id))["deliveries"][0]
    headers = operator.spine.organization.headers
    async with operator.api.client.post(f"/v1/deliveries/{first['id']}/replay", headers=headers) as answer:
        assert answer.status == 202, await answer.text()
    await operator.spine.drain()
    trail = await operator.trail(generation_id)
    assert trail["events"][-1]["type"] == "delivery.replayed"
    assert (trail["tasks"][-1]["delivery_id"], trail["tasks"][-1]["state"]) == (first["id"], "done")
    assert [each["status_code"] for each in trail["deliveries"][0]["attempts"]] == [204, 204]
    assert words(await operator.page(f"/trail/{generation_id}")).count("204 from") == 3


async def test_a_try_that_failed_is_shown_before_the_one_that_did_not(operator):
    generation_id = await operator.post()
    failpoints.configure("worker.before_record=raise")
    try:
        await operator.spine.executor.run(await operator.spine.dispatch(RENDER))
    finally:
        failpoints.configure("")
    [render] = (await operator.trail(generation_id))["tasks"]
    assert (render["state"], render["attempts"], render["waited_ms"], render["ended_ms"]) == ("ready", 1, None, None)
    assert render["ran_ms"] > 0
    await operator.due()
    render = (await operator.trail(generation_id))["tasks"][0]
    assert (render["state"], len(render["failures"])) == ("done", 1)
    assert render["failures"][0]["ms"] < render["started_ms"]
    assert "failed at task 1: FailpointError" in words(await operator.page(f"/trail/{generation_id}"))


async def test_a_task_that_killed_its_workers_names_each_of_them(operator):
    generation_id = await operator.post()
    for name in ("first", "second", "third"):
        ids = await operator.spine.dispatch(RENDER)
        lease = timedelta(seconds=30)
        await claims.claim(operator.spine.system, ids, actors=[RENDER], owner=f"worker/{name}", lease=lease)
        await operator.spine.expire_leases()
    await operator.spine.drain()
    trail = await operator.trail(generation_id)
    render = trail["tasks"][0]
    assert (render["state"], render["deaths"]) == ("dead", 3)
    assert [failure["owner"] for failure in render["failures"]] == ["worker/first", "worker/second", "worker/third"]
    told = ["generation.accepted", "task.died", "generation.failed"]
    assert [event["type"] for event in trail["events"]] == told
    assert [entry["kind"] for entry in trail["charges"]] == ["hold", "release"]
    assert [mail["kind"] for mail in trail["mails"]] == ["image_failed"]
    page = words(await operator.page(f"/trail/{generation_id}"))
    assert "rendering_failed The image could not be made" in page
    assert page.index("worker/third") < page.index("task.died") < page.index("given back")


async def test_a_cancelled_generation_shows_what_was_given_back_and_withdrawn(operator):
    generation_id = await operator.post()
    await operator.spine.step()
    headers = operator.spine.organization.headers
    async with operator.api.client.post(f"/v1/generations/{generation_id}/cancel", headers=headers) as answer:
        assert answer.status == 200
    await operator.spine.drain()
    trail = await operator.trail(generation_id)
    assert [entry["kind"] for entry in trail["charges"]] == ["hold", "release"]
    assert [(task["actor"], task["state"]) for task in trail["tasks"]] == [
        (RENDER, "cancelled"),
        ("generations.withdraw", "done"),
    ]
    assert (trail["asset"], trail["tasks"][0]["ran_ms"]) == (None, None)


async def test_an_event_says_what_keeps_it_from_being_reacted_to(operator):
    generation_id = await operator.post()
    [event] = (await operator.trail(generation_id))["events"]
    assert (event["state"], event["position"], event["relay_ms"]) == ("pending", None, None)
    assert "waiting for the relay" in words(await operator.page(f"/trail/{generation_id}"))
    await operator.change(
        "with gone as (delete from pending_events returning *) insert into set_aside_events "
        "(event_id, organization_id, type, error) select event_id, organization_id, type, 'no such function' from gone"
    )
    [event] = (await operator.trail(generation_id))["events"]
    assert (event["state"], event["error"]) == ("set_aside", "no such function")
    assert "set aside" in words(await operator.page(f"/trail/{generation_id}"))


async def test_when_its_tasks_are_pruned_the_page_says_so(operator):
    generation_id = await operator.post()
    await operator.spine.drain()
    await operator.change("delete from tasks")
    await operator.change("update generations set created_at = now() - interval '8 days'")
    page = words(await operator.page(f"/trail/{generation_id}"))
    assert "Tasks are kept for 7 days; this generation’s are gone." in page


async def test_what_customers_wrote_is_shown_as_text(operator):
    await operator.change("update organizations set name = '<script>alert(1)</script> & Sons'")
    given = {"prompt": "</pre><script>alert(2)</script>", "project": "<img src=x>", "metadata": {"<i>": "\"'><b>"}}
    generation_id = await operator.post(given, **{"Idempotency-Key": '"><script>alert(3)</script>'})
    await operator.spine.drain()
    for path in (f"/trail/{generation_id}", "/"):
        page = await operator.page(path)
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; Sons" in page
        assert not re.search(r"<(script|i>|img src=x)|\son\w+=|style=|javascript:", page)
    seen = words(await operator.page(f"/trail/{generation_id}"))
    for text in ("</pre><script>alert(2)</script>", "<img src=x>", '"><script>alert(3)</script>', '"<i>": "\\"\'><b>"'):
        assert text in seen


async def test_addresses_of_people_are_masked_wherever_they_stand(operator, monkeypatch):
    monkeypatch.setattr(dispatch, "GIVEN_UP_AFTER", timedelta(0))
    operator.spine.mail.failure = ChannelUnavailableError("450 <someone@customer.example>: mailbox busy")
    generation_id = await operator.post()
    await operator.spine.drain()
    trail = await operator.trail(generation_id)
    [failure] = trail["tasks"][1]["failures"]
    assert "450 <s•••@customer.example>: mailbox busy" in failure["reason"]
    assert "someone" not in str(trail)
    assert "someone" not in await operator.page(f"/trail/{generation_id}")


async def test_an_id_that_leads_nowhere_gets_a_page_that_helps(operator):
    for path in ("/trail", "/trail/gen_unknown", "/trail/gen_01jd3v6t2cf5a9x0kqzr8m4n7p", "/trail/x%20y"):
        answer, page = await operator.ask(path, **operator.bearer)
        assert (answer.status, answer.content_type) == (404, "text/html")
        assert "There is no such generation" in words(page)
        assert 'name="generation"' in page
        answer, body = await operator.ask(path, **operator.bearer, accept="*/*")
        assert (answer.status, answer.content_type) == (404, "application/problem+json")
        assert "generation_not_found" in body


async def test_the_search_leads_to_trails_and_to_no_other_place(operator):
    url, headers = f"{operator.api.operator_url}/trail", operator.bearer
    for wanted in ("//elsewhere.example", "https://elsewhere.example", "gen_1\r\nx: y", "é"):
        sent = {"generation": wanted}
        async with operator.api.client.get(url, params=sent, headers=headers, allow_redirects=False) as refused:
            assert refused.status == 404
    generation_id = await operator.post()
    async with operator.api.client.get(url, params={"generation": f" {generation_id} "}, headers=headers) as found:
        assert (found.status, found.url.path) == (200, f"/trail/{generation_id}")


async def test_a_trail_is_found_by_indexes_alone(operator, receiver):
    await operator.fill(3_000)
    generation_id = await operator.post(BADGE, **{"Idempotency-Key": "one"})
    await operator.spine.drain()
    with operator.statements() as seen:
        await operator.page(f"/trail/{generation_id}")
    assert len(seen) >= 10
    assert await operator.scans(seen) == []
    assert await operator.scans([("select from events where type = $1", ("x",))]) != [], "one that has to"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
async def test_a_browser_is_let_in_by_the_token_and_shows_all_of_the_page(operator):
    generation_id = await operator.post()
    await operator.spine.drain()
    pictures = await _served_pictures(operator)
    page, complaints = await _browse(f"{operator.api.operator_url}/trail/{generation_id}?token={operator.token}")
    assert f"<code>{generation_id}</code>" in page
    assert operator.token not in page
    assert "generation.succeeded" in words(page)
    assert [line for line in complaints.splitlines() if "CONSOLE" in line or "Content Security" in line] == []
    assert await _served_pictures(operator) == pictures + 1


async def _served_pictures(operator) -> int:
    line = re.compile(r'^atelier_http_requests_total{.*route="/assets.*status="200"} (\S+)', re.MULTILINE)
    return sum(int(float(count)) for count in line.findall(await operator.page("/metrics")))


async def _browse(url: str) -> tuple[str, str]:
    """The page as Chromium sees it in the end, and what it had to say about it."""
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
        "--enable-logging=stderr", "--dump-dom",
    ]  # fmt: skip
    pipe = asyncio.subprocess.PIPE
    with tempfile.TemporaryDirectory() as profile:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM, *options, f"--user-data-dir={profile}", url, stdout=pipe, stderr=pipe
        )
        page, complaints = await process.communicate()
    return page.decode(), complaints.decode()

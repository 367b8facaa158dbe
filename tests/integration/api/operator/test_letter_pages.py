"""The page of dead letters: it shows them, and its buttons do what they say, for who shows the token alone."""

import html
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from runtime import clock
from tests.integration.api.operator.conftest import BROWSER, Operator, rows, words
from tests.integration.domain.dead_letters.conftest import dead_render
from tests.integration.domain.ledger import Ledger


@pytest.fixture
def ledger(operator: Operator) -> Ledger:
    return Ledger(operator.spine.database, operator.spine.system, operator.spine.organization.id)


def hidden(page: str) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page)
    return {name: html.unescape(value) for name, value in found}


async def press(operator: Operator, path: str, fields: dict[str, str], **headers: str) -> tuple[int, str, str]:
    """Status, address in the end, and page: as a browser that has the cookie, and no header with the token."""
    opened, _ = await operator.ask(f"/?token={operator.token}", redirect=False)
    cookie = opened.headers["set-cookie"].partition(";")[0]
    sent: dict[str, Any] = {"accept": BROWSER, "cookie": cookie} | headers
    async with operator.api.client.post(operator.api.operator_url + path, data=fields, headers=sent) as answer:
        return answer.status, answer.url.path, await answer.text()


async def decided(ledger: Ledger) -> int:
    return int(await ledger.value("select count(*) from audit_entries"))


async def test_the_page_shows_what_waits_why_and_what_can_be_done(operator, ledger):
    assert "Nothing waits for a person." in words(await operator.page("/dead-letters"))
    task = await dead_render(ledger, reason="the <store> is away")
    page = await operator.page("/dead-letters")
    assert "1 waits for a person" in words(page)
    letter = next(row for row in rows(page) if row.startswith(str(task.id)))
    assert "generations.render" in letter
    assert "the <store> is away" in letter
    assert letter.endswith("Replay Discard")
    assert f'href="/trail/{task.subject}"' in page
    assert "<store>" not in page


async def test_the_page_narrows_to_what_fits_and_goes_on_to_older_ones(operator, ledger, monkeypatch):
    monkeypatch.setattr("api.operator.letter_pages.LETTERS_SHOWN", 1)
    first, second = [await dead_render(ledger, reason=reason) for reason in ("a store", "a font & more")]
    page = await operator.page("/dead-letters?reason=%26&cause=&actor=")
    assert ("1 fit" in words(page), f">{second.id}<" in page, f">{first.id}<" in page) == (True, True, False)
    assert hidden(page)["filter"] == '{"reason":"&"}'
    page = await operator.page("/dead-letters")
    older = html.unescape(re.findall(r'href="(/dead-letters\?cursor=[^"]*)">older', page)[0])
    assert f">{first.id}<" in await operator.page(older)
    assert "None fits." in words(await operator.page("/dead-letters?actor=x"))


async def test_moments_in_the_address_stay_when_the_filter_is_changed(operator, ledger):
    await dead_render(ledger)
    page = await operator.page("/dead-letters?died_after=2020-01-01T00:00:00&died_before=2999-01-01T00:00:00Z")
    form = hidden(page.split('<form class="filters"', 2)[1].partition("</form>")[0])
    assert form == {"died_after": "2020-01-01T00:00:00+00:00", "died_before": "2999-01-01T00:00:00+00:00"}
    assert "1 fit" in words(await operator.page(f"/dead-letters?{urlencode(form)}"))


async def test_each_button_for_all_has_a_form_of_its_own(operator, ledger):
    """So that Enter in the field of a reason cannot replay."""
    await dead_render(ledger)
    forms = re.findall(
        r'<form[^>]*action="/dead-letters/all">.*?</form>', await operator.page("/dead-letters"), re.DOTALL
    )
    assert [(hidden(form)["action"], form.count("<button"), 'name="reason"' in form) for form in forms] == [
        ("replay", 1, False), ("discard", 1, True),
    ]  # fmt: skip
    assert hidden(forms[0])["operation"] != hidden(forms[1])["operation"]


async def test_a_button_asks_for_the_token_once_and_the_next_ones_do_not(operator, ledger):
    tasks = [await dead_render(ledger) for _ in range(3)]
    status, _, page = await press(operator, f"/dead-letters/{tasks[0].id}/replay", {"filter": '{"queue":"tests"}'})
    assert status == 401
    assert "The operator’s token, please" in words(page)
    assert hidden(page) == {"filter": '{"queue":"tests"}'}
    assert await decided(ledger) == 0
    given = hidden(page) | {"token": operator.token}
    status, _, page = await press(operator, f"/dead-letters/{tasks[0].id}/replay", given)
    assert (status, f"Task {tasks[0].id} begins anew." in page) == (200, True)
    assert hidden(page)["filter"] == '{"queue":"tests"}'
    ticket = {"ticket": hidden(page)["ticket"], "reason": "the customer has left"}
    status, _, page = await press(operator, f"/dead-letters/{tasks[1].id}/discard", ticket)
    assert (status, f"Task {tasks[1].id} is given up." in page) == (200, True)
    assert operator.token not in page
    assert await decided(ledger) == 2
    await operator.spine.drain()
    assert await ledger.status(tasks[0].subject) == "succeeded"


async def test_what_the_domain_refuses_is_said_on_the_page(operator, ledger):
    task = await dead_render(ledger)
    await ledger.rows("update credit_accounts set available = 0 returning 1")
    _, _, page = await press(operator, f"/dead-letters/{task.id}/replay", {"token": operator.token})
    assert 'class="said bad"' in page
    assert "(insufficient_credits)" in words(page)
    _, _, page = await press(operator, "/dead-letters/987654/replay", {"token": operator.token})
    assert "there is no dead task 987654" in words(page)


async def test_all_that_fit_are_decided_in_the_background_once_however_often_it_is_sent(operator, ledger):
    for reason in ("a store", "a store", "a font"):
        await dead_render(ledger, reason=reason)
    form = hidden(await operator.page("/dead-letters?reason=store"))
    given = form | {"action": "replay", "rate": "50", "reason": "", "token": operator.token}
    for _ in range(2):
        status, path, page = await press(operator, "/dead-letters/all", given)
        assert (status, path) == (200, f"/bulk-operations/{form['operation']}")
    assert "0 of 2 decided" in words(page)
    assert 'http-equiv="refresh"' in page
    await operator.spine.drain()
    page = await operator.page(path)
    assert "2 of 2 decided" in words(page)
    assert 'http-equiv="refresh"' not in page
    assert f'href="{path}"' in await operator.page("/dead-letters")


async def test_a_bulk_operation_is_cancelled_by_its_button(operator, ledger):
    await dead_render(ledger)
    begun = await operator.call("POST", "/operator/bulk-operations", {"action": "replay", "filter": {}}, status=202)
    path = f"/bulk-operations/{begun['id']}"
    assert (await press(operator, f"{path}/cancel", {}))[0] == 401
    status, where, page = await press(operator, f"{path}/cancel", {"token": operator.token})
    assert (status, where, "cancelled" in words(page)) == (200, path, True)
    answer, page = await operator.ask("/bulk-operations/blk_x", **operator.bearer)
    assert (answer.status, "There is no such bulk operation" in words(page)) == (404, True)


async def test_nothing_is_changed_by_forged_stale_or_foreign_requests(operator, ledger, monkeypatch):
    task = await dead_render(ledger)
    path = f"/dead-letters/{task.id}/replay"
    _, _, page = await press(operator, "/dead-letters/987654/replay", {"token": operator.token})
    ticket = hidden(page)["ticket"]
    until, _, signed = ticket.partition(".")
    for forged in ("x", f"{int(until) + 60}.{signed}", f"{until}.", f"²{until}.{signed}", "é"):
        assert (await press(operator, path, {"ticket": forged}))[0] == 401
    assert (await press(operator, path, {"token": "x"}))[0] == 401
    for site in ("cross-site", "same-site"):
        status, _, page = await press(operator, path, {"ticket": ticket}, **{"sec-fetch-site": site})
        assert (status, "ticket" in page) == (401, False)
    later = clock.machine().replace(year=clock.machine().year + 1)
    monkeypatch.setattr(clock, "machine", lambda: later)
    assert (await press(operator, path, {"ticket": ticket}))[0] == 401
    monkeypatch.undo()
    assert await decided(ledger) == 0
    for body in (
        {"rate": "0"},
        {"rate": "10", "action": "discard", "reason": " "},
        {"rate": "10", "filter": '{"x": 1}'},
        {"rate": "10", "action": "dance"},
    ):
        status, _, _ = await press(operator, "/dead-letters/all", {"action": "replay", "token": operator.token} | body)
        assert status == 422
    assert await decided(ledger) == 0


async def test_no_page_that_is_merely_opened_carries_a_ticket(operator, ledger):
    await dead_render(ledger)
    begun = await operator.call("POST", "/operator/bulk-operations", {"action": "replay", "filter": {}}, status=202)
    for path in ("/", "/dead-letters", f"/bulk-operations/{begun['id']}"):
        assert 'name="ticket"' not in await operator.page(path)

"""The receiver that docs/webhooks.md shows works as it stands there."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domain.webhooks import backoff, signing
from runtime.outbound import client, errors

DOCUMENT = Path(__file__).parents[4] / "docs" / "webhooks.md"


def test_the_python_receiver_takes_what_is_signed_once_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = DOCUMENT.read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    body = '{"type":"generation.succeeded","timestamp":"2026-11-20T08:30:00.125Z","data":{"id":"gen_1"}}'
    secret, now = signing.new_secret(), datetime.now(UTC)
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    receiver: dict[str, object] = {}
    exec(example, receiver)
    receive = receiver["receive"]

    headers = signing.sign([secret], "evt_1", now, body.encode())
    assert [receive(body.encode(), headers) for _ in range(2)] == [204, 204]
    assert capsys.readouterr().out.count("generation.succeeded") == 1

    forged = signing.sign([signing.new_secret()], "evt_2", now, body.encode())
    stale = signing.sign([secret], "evt_3", now - timedelta(minutes=6), body.encode())
    for refused in (forged, stale, headers | {"webhook-signature": "nonsense"}, {}):
        assert receive(body.encode(), refused) == 400


def test_the_schedule_in_the_document_is_the_one_in_the_code() -> None:
    (row,) = re.findall(r"^\| after the one before \|(.*)\|$", DOCUMENT.read_text(), flags=re.MULTILINE)
    units = {"s": "seconds", "min": "minutes", "h": "hours"}
    first, *waits = [cell.split() for cell in row.split("|")]
    assert first == ["at", "once"]
    assert [timedelta(**{units[unit]: int(number)}) for number, unit in waits] == list(backoff.SCHEDULE[1:])


def test_each_code_of_an_attempt_without_an_answer_is_explained() -> None:
    codes = {code for _, code, _ in client._FAILURES}
    codes |= {kind.code for kind in (errors.OutboundTimeoutError, errors.AddressRefusedError, errors.InvalidUrlError)}
    assert codes == set(re.findall(r"^\| `([a-z_]+)` \|", DOCUMENT.read_text(), flags=re.MULTILINE))

"""Signatures are what the specification says and what its official library accepts."""

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from domain.webhooks import signing


def test_the_vector_of_the_specification_is_reproduced() -> None:
    headers = signing.sign(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        b'{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_new_secret_is_32_random_bytes_in_the_form_of_the_specification() -> None:
    secrets = {signing.new_secret() for _ in range(100)}
    assert len(secrets) == 100
    for secret in secrets:
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


def test_the_official_library_accepts_the_signature() -> None:
    secret, body = signing.new_secret(), '{"type":"generation.succeeded","data":{"title":"Grüße 🎨"}}'.encode()
    headers = signing.sign([secret], "evt_1", datetime.now(UTC), body)
    assert Webhook(secret).verify(body, headers)["data"] == {"title": "Grüße 🎨"}


def test_during_a_rotation_the_holder_of_either_secret_verifies() -> None:
    new, old = signing.new_secret(), signing.new_secret()
    headers = signing.sign([new, old], "evt_1", datetime.now(UTC), b"{}")
    for secret in (new, old):
        Webhook(secret).verify(b"{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(b"{}", headers)


def test_a_changed_body_id_or_time_does_not_verify() -> None:
    secret, now = signing.new_secret(), datetime.now(UTC)
    headers = signing.sign([secret], "evt_1", now, b'{"amount":1}')
    later = str(int(now.timestamp()) + 1)
    for body, changed in (
        (b'{"amount":2}', {}),
        (b'{"amount":1}', {"webhook-id": "evt_2"}),
        (b'{"amount":1}', {"webhook-timestamp": later}),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, headers | changed)


def test_the_zone_of_the_time_makes_no_difference() -> None:
    now = datetime(2026, 11, 20, 12, 0, 0, 999_999, tzinfo=UTC)
    elsewhere = now.astimezone(timezone(timedelta(hours=-7)))
    secret = signing.new_secret()
    assert signing.sign([secret], "evt_1", now, b"") == signing.sign([secret], "evt_1", elsewhere, b"")

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import clock
from storage import signing
from storage.errors import InvalidKeyError, SignatureExpiredError, SignatureInvalidError

KEY = "o/one/picture.png"
SECRET = "a-secret-of-thirty-two-characters"
OLD = "the-secret-before-the-present-one"


def test_of_several_keys_the_first_signs() -> None:
    assert signing.secrets(f" {SECRET}, {OLD},") == (SECRET, OLD)


def in_an_hour() -> datetime:
    return clock.machine() + timedelta(hours=1)


def test_a_signed_address_grants_what_was_signed() -> None:
    expires_at = in_an_hour()
    disposition = 'attachment; filename="my picture.png"'
    query = signing.sign(KEY, secret=SECRET, expires_at=expires_at, disposition=disposition)
    grant = signing.verify(KEY, query, secrets=[SECRET])
    assert grant == signing.Grant(KEY, expires_at.replace(microsecond=0), disposition)


def test_a_signature_is_what_openssl_makes_of_the_same_facts() -> None:
    expires_at = datetime(2100, 1, 1, tzinfo=UTC)
    assert signing.sign(KEY, secret=SECRET, expires_at=expires_at) == (
        "expires=4102444800&signature=88a6d7be593b0671d1d7b9f4ab697962c476b8636f66ef4bcddf63554bd61c1c"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("expires", "4102444801"), ("expires", ""), ("expires", "04102444800"), ("signature", "0" * 64), ("signature", ""),
     ("signature", "é"), ("disposition", "inline")],
)  # fmt: skip
def test_a_changed_parameter_is_refused(name: str, value: str) -> None:
    query = signing.sign(KEY, secret=SECRET, expires_at=datetime(2100, 1, 1, tzinfo=UTC), disposition="attachment")
    changed = {key: values[0] for key, values in parse_qs(query).items()} | {name: value}
    with pytest.raises(SignatureInvalidError):
        signing.verify(KEY, urlencode(changed), secrets=[SECRET])


@given(st.text())
def test_no_text_is_a_signature_by_chance(query: str) -> None:
    with pytest.raises(SignatureInvalidError):
        signing.verify(KEY, query, secrets=[SECRET])


def test_a_signature_holds_for_one_key_and_one_method() -> None:
    query = signing.sign(KEY, secret=SECRET, expires_at=in_an_hour())
    for key, method in (("o/two/picture.png", "GET"), ("../picture.png", "GET"), (KEY, "PUT"), (KEY, "DELETE")):
        with pytest.raises(SignatureInvalidError):
            signing.verify(key, query, secrets=[SECRET], method=method)
    upload = signing.sign(KEY, secret=SECRET, expires_at=in_an_hour(), method="PUT")
    assert signing.verify(KEY, upload, secrets=[SECRET], method="PUT").key == KEY
    with pytest.raises(SignatureInvalidError):
        signing.verify(KEY, upload, secrets=[SECRET])


def test_who_may_read_may_ask_for_the_headers() -> None:
    query = signing.sign(KEY, secret=SECRET, expires_at=in_an_hour())
    assert signing.verify(KEY, query, secrets=[SECRET], method="HEAD").key == KEY


def test_a_link_ends_at_its_time() -> None:
    query = signing.sign(KEY, secret=SECRET, expires_at=clock.machine() - timedelta(seconds=1))
    with pytest.raises(SignatureExpiredError):
        signing.verify(KEY, query, secrets=[SECRET])


def test_a_forged_link_is_not_told_that_it_is_over() -> None:
    query = signing.sign(KEY, secret=OLD, expires_at=clock.machine() - timedelta(days=1))
    with pytest.raises(SignatureInvalidError):
        signing.verify(KEY, query, secrets=[SECRET])


def test_the_machine_clock_decides_whatever_the_product_clock_says() -> None:
    query = signing.sign(KEY, secret=SECRET, expires_at=in_an_hour())
    clock.set_offset(timedelta(days=30))
    try:
        assert signing.verify(KEY, query, secrets=[SECRET]).key == KEY
    finally:
        clock.set_offset(timedelta())


def test_links_signed_before_a_rotation_hold_while_the_old_secret_is_accepted() -> None:
    query = signing.sign(KEY, secret=OLD, expires_at=in_an_hour())
    assert signing.verify(KEY, query, secrets=[SECRET, OLD]).key == KEY
    with pytest.raises(SignatureInvalidError):
        signing.verify(KEY, query, secrets=[SECRET])
    with pytest.raises(SignatureInvalidError):
        signing.verify(KEY, query, secrets=[])


def test_parameters_added_on_the_way_are_ignored_and_doubled_ones_are_not() -> None:
    query = signing.sign(KEY, secret=SECRET, expires_at=in_an_hour())
    assert signing.verify(KEY, f"{query}&utm_source=mail", secrets=[SECRET]).key == KEY
    with pytest.raises(SignatureInvalidError):
        signing.verify(KEY, f"{query}&expires=1", secrets=[SECRET])


def test_what_cannot_be_a_link_is_not_signed() -> None:
    with pytest.raises(InvalidKeyError):
        signing.sign("../etc/passwd", secret=SECRET, expires_at=in_an_hour())
    with pytest.raises(ValueError, match="time zone"):
        signing.sign(KEY, secret=SECRET, expires_at=datetime(2100, 1, 1))
    for disposition in ("attachment\r\nSet-Cookie: a=b", "attachment; filename=é.png"):
        with pytest.raises(ValueError, match="ASCII"):
            signing.sign(KEY, secret=SECRET, expires_at=in_an_hour(), disposition=disposition)

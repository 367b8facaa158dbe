"""Reading the header."""

import pytest

from domain.idempotency import keys
from domain.idempotency.errors import KeyMalformed

SCOPE = "live POST /v1/things"


@pytest.mark.parametrize("header", ["a", '"8e03978e-40d5-43e8-bc93-6894a57f9324"', "order 7", "~" * 255])
def test_printable_ascii_is_a_key(header):
    assert keys.read(header, SCOPE, b"").key == header


@pytest.mark.parametrize("header", ["", "é", "a\tb", "a\n", "x" * 256])
def test_anything_else_is_not(header):
    with pytest.raises(KeyMalformed):
        keys.read(header, SCOPE, b"")


def test_what_makes_a_request_another_one_makes_another_fingerprint():
    one = keys.read("k", SCOPE, b"/v1/things/1/copy", b"{}")
    assert one == keys.read("k", SCOPE, b"/v1/things/1/copy", b"{}")
    assert one.fingerprint != keys.read("k", SCOPE, b"/v1/things/2/copy", b"{}").fingerprint
    assert one.fingerprint != keys.read("k", SCOPE, b"/v1/things/1/copy", b"{ }").fingerprint

import base64
import traceback

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from runtime import encryption
from runtime.encryption import DecryptionError, Keyring, KeyringError

KEY = "first:" + base64.b64encode(bytes(range(32))).decode()
OTHER = "second:" + base64.b64encode(bytes(range(32, 64))).decode()
RING = Keyring.from_setting(KEY)


@given(plaintext=st.binary(), context=st.binary())
def test_what_was_encrypted_is_decrypted_in_its_context(plaintext: bytes, context: bytes) -> None:
    assert RING.decrypt(RING.encrypt(plaintext, context=context), context=context) == plaintext


def test_a_value_moved_to_another_row_is_not_decrypted() -> None:
    token = RING.encrypt(b"secret", context=b"endpoints/1")
    with pytest.raises(DecryptionError, match="belongs elsewhere"):
        RING.decrypt(token, context=b"endpoints/2")


def test_a_change_of_any_byte_is_noticed() -> None:
    token = RING.encrypt(b"secret", context=b"row")
    for place in range(len(token)):
        changed = bytearray(token)
        changed[place] ^= 1
        with pytest.raises(DecryptionError):
            RING.decrypt(bytes(changed), context=b"row")


@given(st.binary())
def test_what_is_no_token_is_refused(token: bytes) -> None:
    with pytest.raises(DecryptionError):
        RING.decrypt(token, context=b"row")


def test_a_token_cut_short_anywhere_is_refused() -> None:
    token = RING.encrypt(b"secret", context=b"row")
    for length in range(len(token)):
        with pytest.raises(DecryptionError):
            RING.decrypt(token[:length], context=b"row")


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    before = RING.encrypt(b"old", context=b"row")
    rotated = Keyring.from_setting(f"{OTHER}, {KEY}")
    after = rotated.encrypt(b"new", context=b"row")
    assert rotated.decrypt(before, context=b"row") == b"old"
    assert rotated.decrypt(after, context=b"row") == b"new"
    with pytest.raises(DecryptionError, match="the key second is not among"):
        RING.decrypt(after, context=b"row")


def test_equal_values_do_not_look_equal() -> None:
    assert RING.encrypt(b"secret", context=b"row") != RING.encrypt(b"secret", context=b"row")


def test_a_token_is_what_its_format_says() -> None:
    token = RING.encrypt(b"secret", context=b"row")
    head, nonce, body = token[:7], token[7:19], token[19:]
    assert head == b"\x01\x05first"
    assert AESGCM(bytes(range(32))).decrypt(nonce, body, head + b"row") == b"secret"


def test_a_generated_key_serves() -> None:
    one, two = encryption.generate_key(), encryption.generate_key()
    assert one != two
    ring = Keyring.from_setting(f"{one},{two}")
    assert ring.decrypt(ring.encrypt(b"secret", context=b""), context=b"") == b"secret"


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("", "no encryption key"),
        (" , ", "no encryption key"),
        ("bm90LWEta2V5", "key 1 is not of the form"),
        ("a:not base64!", "key 1 is not valid base64"),
        ("a:c2hvcnQta2V5", r"key 1 \(a\) has 9 bytes"),
        (f"{KEY},{KEY}", "key 2 has the id"),
        (KEY.replace("first", "sp ace"), "an id has"),
    ],
)
def test_keys_that_cannot_be_read_are_refused_without_being_shown(setting: str, says: str) -> None:
    with pytest.raises(KeyringError, match=says) as caught:
        Keyring.from_setting(setting)
    shown = "".join(traceback.format_exception(caught.value))
    assert not any(part in shown for part in setting.split(":")[1:] if part)


def test_a_printed_ring_shows_ids_and_no_keys() -> None:
    assert repr(Keyring.from_setting(f"{KEY},{OTHER}")) == "<Keyring of first, second>"

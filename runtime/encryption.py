"""Encryption at rest of small values (secrets of customers): AES-256-GCM under a ring of named keys.

A token is `version (1 byte) | length of key id (1) | key id | nonce (12) | ciphertext and tag`. The head and the
caller's context are authenticated with it, so that a value copied from one row into another can't be decrypted there.
Nonces are random: one key may encrypt 2^32 values (NIST SP 800-38D, 8.3) before a new one should go first.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from runtime.settings import SettingsError

KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = 1
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class KeyringError(SettingsError):
    """The keys can't be read. The text says which one by its place, never what was given."""


class DecryptionError(Exception):
    """Not a token of ours, changed, or of another context; or its key is not in the ring (then the text names it)."""


class Keyring:
    """The first key encrypts, all decrypt: to rotate, put a new key in front and keep the old ones."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Keys of 32 bytes by id, in order. Raises KeyringError."""
        for place, (key_id, key) in enumerate(keys.items(), start=1):
            if not _KEY_ID.fullmatch(key_id):
                raise KeyringError(f"encryption key {place}: an id has 1 to 32 letters, digits, `-` or `_`")
            if len(key) != KEY_BYTES:
                raise KeyringError(f"encryption key {place} ({key_id}) has {len(key)} bytes; it must have {KEY_BYTES}")
        if not keys:
            raise KeyringError("no encryption key is given")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._first = next(iter(keys))

    @classmethod
    def from_setting(cls, text: str) -> "Keyring":
        """`id:base64,id:base64` (`ATELIER_ENCRYPTION_KEYS`). Raises KeyringError."""
        keys: dict[str, bytes] = {}
        for place, item in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
            key_id, colon, encoded = item.partition(":")
            if not colon:
                raise KeyringError(f"encryption key {place} is not of the form id:base64")
            if key_id in keys:
                raise KeyringError(f"encryption key {place} has the id of an earlier one")
            try:
                keys[key_id] = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                raise KeyringError(f"encryption key {place} is not valid base64") from None
        return cls(keys)

    def __repr__(self) -> str:
        return f"<Keyring of {', '.join(self._ciphers)}>"

    def encrypt(self, plaintext: bytes, *, context: bytes) -> bytes:
        """`context` says where the value belongs (table, column, row id); decrypting needs the same."""
        key_id = self._first.encode()
        head = bytes((_VERSION, len(key_id))) + key_id
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return head + nonce + self._ciphers[self._first].encrypt(nonce, plaintext, head + context)

    def decrypt(self, token: bytes, *, context: bytes) -> bytes:
        """Raises DecryptionError."""
        if len(token) < 2 or token[0] != _VERSION:
            raise DecryptionError("this is no encrypted value")
        end = 2 + token[1]
        head, nonce, body = token[:end], token[end : end + _NONCE_BYTES], token[end + _NONCE_BYTES :]
        key_id = head[2:].decode(errors="replace")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            named = f"the key {key_id}" if _KEY_ID.fullmatch(key_id) else "its key"
            raise DecryptionError(f"{named} is not among the encryption keys")
        try:
            return cipher.decrypt(nonce, body, head + context)
        except (InvalidTag, ValueError):
            raise DecryptionError("the encrypted value was changed, or belongs elsewhere") from None


def generate_key() -> str:
    """A new key in the form of the setting, with an id of its own."""
    return f"k{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"

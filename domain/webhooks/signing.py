"""Standard Webhooks 1.0.0, symmetric: HMAC-SHA256 over `id.timestamp.body`, signature version `v1`."""

import base64
import hmac
import secrets as random
from collections.abc import Sequence
from datetime import datetime

PREFIX = "whsec_"
_SECRET_BYTES = 32
_LEAST_BYTES, _MOST_BYTES = 24, 64  # as the specification asks


def new_secret() -> str:
    """Shown to the customer once, kept encrypted."""
    return PREFIX + base64.b64encode(random.token_bytes(_SECRET_BYTES)).decode()


def is_secret(text: str) -> bool:
    """Whether a secret that a customer brings is one."""
    try:
        return text.startswith(PREFIX) and _LEAST_BYTES <= len(_key(text)) <= _MOST_BYTES
    except ValueError:
        return False


def sign(secrets: Sequence[str], message_id: str, timestamp: datetime, body: bytes) -> dict[str, str]:
    """The three headers of one attempt. All active secrets sign, so that a receiver may hold either in a rotation.

    `message_id` stays the same over all attempts and holds no dot; `timestamp` (aware) is this attempt's; `body` is
    what is sent, byte for byte.
    """
    seconds = int(timestamp.timestamp())
    content = f"{message_id}.{seconds}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(_key(secret), content, "sha256")).decode() for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)

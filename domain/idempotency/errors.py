"""Refusals about Idempotency-Keys (draft-ietf-httpapi-idempotency-key-header-07)."""

from domain.errors import Conflict, Invalid


class KeyReused(Invalid):
    """This Idempotency-Key was used before for another request."""

    code = "idempotency_key_reused"


class KeyBusy(Conflict):
    """The first request with this Idempotency-Key is still being worked on."""

    code = "idempotency_key_busy"


class KeyMalformed(Invalid):
    """An Idempotency-Key has 1 to 255 printable ASCII characters."""

    code = "idempotency_key_malformed"

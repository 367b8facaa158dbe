"""Answers kept under Idempotency-Keys, in the transaction of the effect that they report.

`begin` claims the key, the caller does his work, `finish` keeps the answer: one transaction, so that a failure gives
the key back and a kept answer is never without its effect. (`accept_generation` does the same inside one statement.)
"""

import hashlib
import re
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, and_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from domain.idempotency.errors import KeyBusy, KeyMalformed, KeyReused
from domain.idempotency.models import IdempotencyKey
from runtime.database import Transaction
from runtime.encryption import Keyring

WAIT: Final = "2s"
"""How long a request waits for an earlier one with the same key."""

_FORMAT = re.compile(r"[\x20-\x7e]{1,255}")
_UNFINISHED: Final = 0
_LOCK_TIMEOUT = text("select set_config('lock_timeout', :wait, true)")
_LOCK_NOT_AVAILABLE: Final = "55P03"


class Key(msgspec.Struct, frozen=True):
    """`scope` is `environment METHOD route`; `fingerprint` is a SHA-256 of what makes two requests the same."""

    scope: str
    key: str
    fingerprint: bytes


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes


def read(header: str, scope: str, *parts: bytes) -> Key:
    """`parts` are the body and whatever else of the request decides its effect. Raises KeyMalformed."""
    if not _FORMAT.fullmatch(header):
        raise KeyMalformed
    return Key(scope, header, hashlib.sha256(b"\n".join(parts)).digest())


async def begin(tx: Transaction, organization: str, key: Key, keyring: Keyring) -> Answer | None:
    """The answer that was given before; None when this request is the first. While another transaction works under
    the same key, waits for it on the unique index. Raises KeyBusy, KeyReused.
    """
    await tx.execute(_LOCK_TIMEOUT, {"wait": WAIT})
    claim = insert(IdempotencyKey).values(
        organization_id=organization,
        scope=key.scope,
        key=key.key,
        fingerprint=key.fingerprint,
        status=_UNFINISHED,
        body=b"",
    )
    try:
        claimed = await tx.execute(claim.on_conflict_do_nothing())
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise KeyBusy(retry_after=1) from None
        raise
    return None if claimed.rowcount == 1 else await _kept(tx, organization, key, keyring)


async def finish(tx: Transaction, organization: str, key: Key, answer: Answer, keyring: Keyring) -> None:
    """The body is encrypted: it may show a secret that is shown only once."""
    sealed = keyring.encrypt(answer.body, context=_context(organization, key))
    await tx.execute(update(IdempotencyKey).where(_is(organization, key)).values(status=answer.status, body=sealed))


async def _kept(tx: Transaction, organization: str, key: Key, keyring: Keyring) -> Answer:
    row = (await tx.execute(select(IdempotencyKey.__table__).where(_is(organization, key)))).one()
    if row.fingerprint != key.fingerprint:
        raise KeyReused
    return Answer(row.status, keyring.decrypt(row.body, context=_context(organization, key)))


def _is(organization: str, key: Key) -> ColumnElement[bool]:
    return and_(
        IdempotencyKey.organization_id == organization,
        IdempotencyKey.scope == key.scope,
        IdempotencyKey.key == key.key,
    )


def _context(organization: str, key: Key) -> bytes:
    return f"idempotency_keys.body {organization} {key.scope} {key.key}".encode()

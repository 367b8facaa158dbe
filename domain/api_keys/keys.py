"""API keys: `atl_<environment>_` + 32 letters (160 random bits) + 7 letters of CRC-32, all in Crockford base32.

The checksum lets a scanner of leaked secrets, and the edge of the API, tell a key from a look-alike without asking the
database. Kept is the SHA-256 alone.
"""

import hashlib
import re
import secrets
import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import insert, select, update

from domain import pages
from domain.api_keys import scopes
from domain.api_keys.errors import KeyNotFound, ScopesTooWide, ScopeUnknown
from domain.api_keys.events import ApiKeyCreated, ApiKeyRevoked
from domain.api_keys.models import ApiKeyRow
from domain.errors import FieldError
from domain.events import log
from runtime import clock, ids
from runtime.database import Database, Reader, Transaction

Environment = Literal["live", "test"]

RANDOM_BYTES: Final = 20
SHOWN: Final = 6
"""How many random letters of a key stay visible, so that people can tell keys apart."""

_RANDOM_LETTERS: Final = RANDOM_BYTES * 8 // 5
_CHECKSUM_LETTERS: Final = 7
_FORMAT = re.compile(rf"atl_(live|test)_([{ids.ALPHABET}]{{{_RANDOM_LETTERS + _CHECKSUM_LETTERS}}})")
_AUTHENTICATE = "select * from authenticate_key($1)"
_TOUCH = "select touch_keys($1, $2, $3)"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a request, by the key that it carries."""

    organization_id: str
    key_id: str
    environment: str
    scopes: frozenset[str]
    plan: str
    reuse_is_free: bool
    expires_at: datetime | None = None


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of a key. `prefix` is its beginning; `last_used_at` is true to a few minutes."""

    id: str
    name: str
    prefix: str
    environment: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewKey(msgspec.Struct, frozen=True):
    """`secret` is the key itself, to be shown this once."""

    key: ApiKey
    secret: str


def generate(environment: Environment) -> str:
    random = _base32(int.from_bytes(secrets.token_bytes(RANDOM_BYTES)), _RANDOM_LETTERS)
    head = f"atl_{environment}_{random}"
    return head + _checksum(head)


def is_well_formed(text: str) -> bool:
    """Whether it could be a key at all; costs no look-up."""
    if not _FORMAT.fullmatch(text):
        return False
    return text[-_CHECKSUM_LETTERS:] == _checksum(text[:-_CHECKSUM_LETTERS])


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


async def find(database: Database, key_digest: bytes) -> Caller | None:
    """Whose key this is; None for one that is unknown or revoked. An expired one is found."""
    row = await database.call(_AUTHENTICATE, key_digest)
    if row is None:
        return None
    return Caller(
        organization_id=row["organization_id"],
        key_id=row["key_id"],
        environment=row["environment"],
        scopes=frozenset(row["scopes"]),
        plan=row["plan"],
        reuse_is_free=row["reuse_is_free"],
        expires_at=row["expires_at"],
    )


async def touch(database: Database, used: Sequence[tuple[str, str]], at: datetime) -> None:
    """Notes the last use of keys, given as organization and id."""
    await database.call(_TOUCH, [organization for organization, _ in used], [key for _, key in used], at)


async def create(
    tx: Transaction,
    organization: str,
    *,
    name: str,
    wanted: Sequence[str],
    environment: Environment = "live",
    expires_at: datetime | None = None,
    giver: Caller | None = None,
) -> NewKey:
    """`giver` is the key that asks for another one. Raises ScopeUnknown, ScopesTooWide."""
    _check_scopes(wanted, giver)
    secret = generate(environment)
    row = {
        "id": ids.new("key"),
        "name": name,
        "prefix": secret[: len(f"atl_{environment}_") + SHOWN],
        "environment": environment,
        "scopes": sorted(set(wanted)),
        "created_at": clock.machine(),
        "expires_at": expires_at,
    }
    await tx.execute(insert(ApiKeyRow).values(organization_id=organization, digest=digest(secret), **row))
    await log.append(tx, organization, ApiKeyCreated(subject=str(row["id"])))
    return NewKey(msgspec.convert(row | {"last_used_at": None, "revoked_at": None}, ApiKey), secret)


async def list_keys(tx: Reader, wanted: pages.PageRequest) -> pages.Page[ApiKey]:
    """Newest first, revoked ones too."""
    found = await pages.rows(tx, select(*_SHOWN_COLUMNS), ApiKeyRow.id, wanted)  # type: ignore[arg-type]
    return pages.Page([_of_row(row) for row in found.items], found.last)


async def revoke(tx: Transaction, organization: str, key_id: str) -> ApiKey:
    """Revoking again changes nothing. Raises KeyNotFound."""
    revoked = await tx.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.organization_id == organization, ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
        .values(revoked_at=clock.machine())
    )
    if revoked.rowcount == 1:
        await log.append(tx, organization, ApiKeyRevoked(subject=key_id))
    query = select(*_SHOWN_COLUMNS).where(ApiKeyRow.organization_id == organization, ApiKeyRow.id == key_id)
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise KeyNotFound
    return _of_row(row)


def _check_scopes(wanted: Sequence[str], giver: Caller | None) -> None:
    unknown = scopes.unknown(wanted)
    if unknown:
        places = [FieldError(f"/scopes/{wanted.index(scope)}", "is not a scope") for scope in unknown]
        raise ScopeUnknown(f"the scopes are {', '.join(scopes.ALL)}", fields=tuple(places))
    if giver is not None and (beyond := set(wanted) - giver.scopes):
        raise ScopesTooWide(f"this key does not have {', '.join(sorted(beyond))} itself")


def _checksum(head: str) -> str:
    return _base32(zlib.crc32(head.encode()), _CHECKSUM_LETTERS)


def _base32(number: int, letters: int) -> str:
    return "".join(ids.ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(letters)))


_SHOWN_COLUMNS = tuple(getattr(ApiKeyRow, field) for field in ApiKey.__struct_fields__)


def _of_row(row: Any) -> ApiKey:
    return msgspec.convert(row, ApiKey, from_attributes=True)

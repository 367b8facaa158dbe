"""Prefixed ids, `gen_01jc…`: a UUIDv7 in lower-case Crockford base32 after its kind (the TypeID 0.3 format).

They sort by the time they were made, so a primary key is a keyset cursor too. The database keeps them as text
with collation "C". `migrations` carries the same function in SQL (`new_id(prefix)`).
"""

from datetime import UTC, datetime, timedelta
from typing import Final

import uuid_utils

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
SUFFIX_LENGTH = 26
SYSTEM_ORGANIZATION = "org_system"


def new(prefix: str) -> str:
    return _written(prefix, uuid_utils.uuid7().int)


def _written(prefix: str, number: int) -> str:
    return f"{prefix}_{''.join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])}"


def earliest(prefix: str, moment: datetime) -> str:
    """No id that was made at this moment or later is less: for finding rows by their age along their primary key."""
    return _written(prefix, (moment - _EPOCH) // _MILLISECOND << 80 | _VERSION_7)


def made_at(written: str) -> datetime:
    """When an id was made, in whole milliseconds."""
    number = 0
    for letter in written.rpartition("_")[2][:10]:  # two bits of nothing and the 48 of the time
        number = number << 5 | _VALUES[letter]
    return _EPOCH + number * _MILLISECOND


def is_id(prefix: str, text: str) -> bool:
    """True for a well-formed id of that kind; says nothing of whether it exists."""
    head, _, suffix = text.partition("_")
    return head == prefix and len(suffix) == SUFFIX_LENGTH and all(letter in ALPHABET for letter in suffix)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
_SHIFTS = range(120, -1, -10)
_VERSION_7 = 7 << 76

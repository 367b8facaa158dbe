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
    """Ten bits are two letters. Shifting all 128 bits for each pair would take twice as long."""
    a, b, c, d = number >> 100, number >> 70 & _THIRTY, number >> 40 & _THIRTY, number >> 10 & _THIRTY
    return (
        f"{prefix}_{_PAIRS[a >> 20]}{_PAIRS[a >> 10 & 1023]}{_PAIRS[a & 1023]}"
        f"{_PAIRS[b >> 20]}{_PAIRS[b >> 10 & 1023]}{_PAIRS[b & 1023]}"
        f"{_PAIRS[c >> 20]}{_PAIRS[c >> 10 & 1023]}{_PAIRS[c & 1023]}"
        f"{_PAIRS[d >> 20]}{_PAIRS[d >> 10 & 1023]}{_PAIRS[d & 1023]}{_PAIRS[number & 1023]}"
    )


def earliest(prefix: str, moment: datetime) -> str:
    """No id that was made at this moment or later is less: for finding rows by their age along their primary key."""
    return _written(prefix, (moment - _EPOCH) // _MILLISECOND << 80 | _VERSION_7)


def made_at(written: str) -> datetime:
    """When an id was made, in whole milliseconds."""
    number = int(written.rpartition("_")[2][:10].translate(_DIGITS), 32)  # two bits of nothing and the 48 of the time
    return _EPOCH + number * _MILLISECOND


def is_id(prefix: str, text: str) -> bool:
    """True for a well-formed id of that kind; says nothing of whether it exists."""
    head, _, suffix = text.partition("_")
    return head == prefix and len(suffix) == SUFFIX_LENGTH and all(letter in ALPHABET for letter in suffix)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_DIGITS = str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv")
"""From Crockford's letters to those that `int` reads."""
_THIRTY = (1 << 30) - 1
_VERSION_7 = 7 << 76

"""What a key may be allowed: `noun:verb`. A key names each of its scopes; there is no wildcard that grows by itself."""

from collections.abc import Collection
from typing import Final

ALL: Final = (
    "events:read",
    "files:read",
    "files:write",
    "generations:read",
    "generations:write",
    "keys:read",
    "keys:write",
    "usage:read",
    "webhooks:read",
    "webhooks:write",
)


def unknown(wanted: Collection[str]) -> list[str]:
    return sorted(set(wanted) - set(ALL))

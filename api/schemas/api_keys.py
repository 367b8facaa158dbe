"""What callers send and get about API keys."""

from datetime import datetime
from typing import Annotated

import msgspec

from domain.api_keys.keys import ApiKey, Environment


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`scopes` can only be some of those that the asking key has itself."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    scopes: Annotated[list[str], msgspec.Meta(min_length=1, max_length=50)]
    environment: Environment = "live"
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` is the key itself, shown this once."""

    api_key: ApiKey
    secret: str

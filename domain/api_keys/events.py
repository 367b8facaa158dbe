"""Facts about API keys."""

from domain.events.base import Event


class ApiKeyCreated(Event, frozen=True, kw_only=True):
    type = "api_key.created"
    examples = {1: {}}
    public = False


class ApiKeyRevoked(Event, frozen=True, kw_only=True):
    """Every API process drops the key from its cache when this passes in the feed."""

    type = "api_key.revoked"
    examples = {1: {}}
    public = False

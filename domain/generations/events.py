"""Facts about generations."""

from domain.events.base import Event


class GenerationAccepted(Event, frozen=True, kw_only=True):
    """Accepted, its credits held. Appended by SQL (`accept_generation`). `api_key` is the id of its key."""

    type = "generation.accepted"
    examples = {
        1: {"engine": "template", "template": "badge", "price": 1, "api_key": "key_01jd3v6t2cf5a9x0kqzr8m4n7p"},
    }

    engine: str
    template: str
    price: int
    run_at: str | None = None
    api_key: str | None = None


class GenerationRetried(Event, frozen=True, kw_only=True):
    """A failed generation was given another chance, under a new hold."""

    type = "generation.retried"
    examples = {1: {"price": 1}}

    price: int


class GenerationSucceeded(Event, frozen=True, kw_only=True):
    type = "generation.succeeded"
    examples = {1: {"asset": "ast_01jd3v6t2cf5a9x0kqzr8m4n7p", "credits": 1, "reused": False}}

    asset: str
    credits: int
    reused: bool


class GenerationFailed(Event, frozen=True, kw_only=True):
    type = "generation.failed"
    examples = {1: {"code": "picture_unreachable"}}

    code: str


class GenerationCancelled(Event, frozen=True, kw_only=True):
    type = "generation.cancelled"
    examples = {1: {"by": "caller"}}

    by: str

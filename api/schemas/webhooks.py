"""What the routes of webhooks take and give beside the domain's own structs."""

from typing import Annotated

import msgspec
from msgspec import Meta

from domain.webhooks.endpoints import GRACE, Endpoint, SecretText, Unveiled

LONGEST_GRACE = 7 * 24 * 3600

Grace = Annotated[
    int, Meta(ge=0, le=LONGEST_GRACE, description="For how many seconds the old secret goes on signing beside the new.")
]


class EndpointWithSecret(Endpoint, frozen=True, kw_only=True):
    """`secret` is shown this once; keep it."""

    secret: str

    @classmethod
    def of(cls, unveiled: Unveiled) -> "EndpointWithSecret":
        return cls(**msgspec.structs.asdict(unveiled.endpoint), secret=unveiled.secret)


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without `secret` one is drawn."""

    secret: SecretText | None = None
    grace_seconds: Grace = int(GRACE.total_seconds())


class TestSent(msgspec.Struct, frozen=True):
    """Deliveries are found by `event_id`; the receiver gets it as `webhook-id`."""

    event_id: str

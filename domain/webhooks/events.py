"""Facts about webhook endpoints and deliveries. Attempts are no facts: they would be deliveries' own deliveries."""

from domain.events.base import Event


class EndpointCreated(Event, frozen=True, kw_only=True):
    type = "webhook_endpoint.created"
    examples = {1: {}}
    public = False


class EndpointChanged(Event, frozen=True, kw_only=True):
    """By the customer. `fields` are names: a rotated secret is `secret`."""

    type = "webhook_endpoint.changed"
    examples = {1: {"fields": ["event_types", "status"], "status": "disabled"}}
    public = False

    fields: list[str]
    status: str


class EndpointDeleted(Event, frozen=True, kw_only=True):
    """By the customer. Its deliveries are taken away in its wake."""

    type = "webhook_endpoint.deleted"
    examples = {1: {}}
    public = False


class EndpointDisabled(Event, frozen=True, kw_only=True):
    """By this program, not by the customer: the receiver said 410 (`gone`), or failed for days (`failing`)."""

    type = "webhook_endpoint.disabled"
    examples = {1: {"reason": "gone"}}
    public = False

    reason: str


class EndpointTested(Event, frozen=True, kw_only=True):
    """The customer asked for a test. Delivered to this endpoint alone, whatever it listens to."""

    type = "webhook_endpoint.tested"
    examples = {1: {}}


class DeliveryReplayed(Event, frozen=True, kw_only=True):
    """The customer asked to have it sent again; it begins a schedule of its own."""

    type = "delivery.replayed"
    examples = {1: {"endpoint": "whe_01jd3v6t2cf5a9x0kqzr8m4n7p"}}
    public = False

    endpoint: str

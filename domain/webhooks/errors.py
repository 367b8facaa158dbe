"""Refusals of the webhooks module."""

from domain.errors import Conflict, Invalid, NotFound


class EndpointNotFound(NotFound):
    """There is no such webhook endpoint."""

    code = "webhook_endpoint_not_found"


class EndpointDisabled(Conflict):
    """The webhook endpoint is disabled; enable it first."""

    code = "webhook_endpoint_disabled"


class TooManyEndpoints(Conflict):
    """The organization has as many webhook endpoints as it may have."""

    code = "webhook_endpoints_limit"


class EndpointUrlRefused(Invalid):
    """Webhooks are not sent to this URL."""

    code = "webhook_url_refused"


class SecretMalformed(Invalid):
    """A webhook secret is `whsec_` and the base64 of 24 to 64 bytes."""

    code = "webhook_secret_malformed"


class EventTypeUnknown(Invalid):
    """There is no such type of event."""

    code = "event_type_unknown"


class DeliveryNotFound(NotFound):
    """There is no such delivery."""

    code = "delivery_not_found"


class DeliveryPending(Conflict):
    """The delivery is on its way already."""

    code = "delivery_pending"

"""Refusals of the webhooks module."""

from domain.errors import Invalid, NotFound


class EndpointNotFound(NotFound):
    """There is no such webhook endpoint."""

    code = "webhook_endpoint_not_found"


class DeliveryNotFound(NotFound):
    """There is no such delivery."""

    code = "delivery_not_found"


class EndpointUrlRefused(Invalid):
    """Webhooks are not sent to this URL."""

    code = "webhook_url_refused"

"""The one HTTP client: everything this program fetches or sends on a customer's word goes through here.

What a customer names is never trusted: addresses are refused as they are dialled, nothing is followed, and every
exchange is bounded in time, size and number per host.
"""

from runtime.outbound.client import Outbound, OutboundResponse, create
from runtime.outbound.downloads import Downloaded, download
from runtime.outbound.errors import (
    AddressRefusedError,
    ConnectionFailedError,
    HostBusyError,
    InvalidUrlError,
    OutboundError,
    OutboundTimeoutError,
    ResponseTooLargeError,
    UnusableResponseError,
)
from runtime.outbound.policy import Policy, networks, policy

__all__ = [
    "AddressRefusedError",
    "ConnectionFailedError",
    "Downloaded",
    "HostBusyError",
    "InvalidUrlError",
    "Outbound",
    "OutboundError",
    "OutboundResponse",
    "OutboundTimeoutError",
    "Policy",
    "ResponseTooLargeError",
    "UnusableResponseError",
    "create",
    "download",
    "networks",
    "policy",
]

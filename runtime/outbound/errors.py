"""What can go wrong with an exchange. Texts are safe to show to the customer: no address, no part of a URL.

OutboundError
  InvalidUrlError        never dialled: the URL itself is not acceptable
  AddressRefusedError    never spoken to: the host leads to an address that may not be reached
  HostBusyError          never dialled: too many exchanges with this host are open
  ConnectionFailedError  name, connection, TLS or protocol failed (see `code`)
  OutboundTimeoutError
  ResponseTooLargeError
  UnusableResponseError  a download was answered with another status or content type than it can use
"""


class OutboundError(Exception):
    """`code` is stable and may be stored; the docstring of a subclass is its default text."""

    code = "outbound_failed"

    def __init__(self, text: str = "", *, code: str = "") -> None:
        super().__init__(text or (self.__doc__ or "").strip())
        if code:
            self.code = code


class InvalidUrlError(OutboundError):
    """The URL is not acceptable."""

    code = "invalid_url"


class AddressRefusedError(OutboundError):
    """The host leads to an address that may not be reached."""

    code = "address_refused"


class HostBusyError(OutboundError):
    """Too many exchanges with this host are open."""

    code = "host_busy"


class ConnectionFailedError(OutboundError):
    """The connection failed."""

    code = "connection_failed"


class OutboundTimeoutError(OutboundError):
    """The other side took too long."""

    code = "timeout"


class ResponseTooLargeError(OutboundError):
    """The response is too large."""

    code = "response_too_large"


class UnusableResponseError(OutboundError):
    """The response is not what was asked for."""

    code = "unusable_response"

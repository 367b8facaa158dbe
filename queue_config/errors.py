"""What a broker says when it cannot do its work."""

from dramatiq.errors import BrokerConnectionError, BrokerError


class BrokerUnavailableError(BrokerConnectionError):
    """The broker did not take the messages in time. Some may have arrived all the same: sending again is harmless."""

    def __init__(self, message: str) -> None:
        super().__init__(message)  # type: ignore[no-untyped-call]  # Dramatiq leaves it unannotated


class DelayNotSupportedError(BrokerError):
    """A message was given a delay; due times live in the ledger, never in the broker."""

    def __init__(self, message: str) -> None:
        super().__init__(message)  # type: ignore[no-untyped-call]  # Dramatiq leaves it unannotated

"""What carries deliveries to webhook endpoints that were made by HTTP."""

from tests.integration.courier import courier, keyring, receiver

__all__ = ["courier", "keyring", "receiver"]

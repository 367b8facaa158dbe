"""Money: integer minor units and an ISO 4217 code, never a float."""

import msgspec


class Money(msgspec.Struct, frozen=True):
    """`amount` in minor units of `currency` (2900, "USD" is 29 dollars)."""

    amount: int
    currency: str

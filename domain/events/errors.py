"""Refusals of the event log."""

from domain.errors import Gone


class PositionExpired(Gone):
    """Events that came after this position are not kept any more; begin anew, without a position."""

    code = "position_expired"

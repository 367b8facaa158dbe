"""How telling someone can fail. Not refusals of a request (`domain/errors.py`): nobody waits for the answer, and the
two kinds decide whether there is another try.

ChannelError
  ChannelUnavailableError
  MessageRefusedError
    RecipientRefusedError
"""


class ChannelError(Exception):
    """The base of the others. Texts never hold an address, a password or a server's own words (they quote)."""


class ChannelUnavailableError(ChannelError):
    """Not now: no connection, a time-out, a temporary answer (4xx), or our own credentials are refused. Try again."""


class MessageRefusedError(ChannelError):
    """Never in this form (5xx): the message or its sender is refused, which says nothing of the recipient."""


class RecipientRefusedError(MessageRefusedError):
    """Never at this address (5xx, or no address at all): nothing should be sent to it again."""

"""What a channel is held to (`tests/contracts/test_mail_channel.py`)."""

from typing import Protocol

import msgspec


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    """`unique@domain`, without brackets; the same on each try, so that a receiver can drop the doubled one."""
    sender: str
    """`Name <address>` or an address."""
    recipient: str
    """One address, nothing else."""
    subject: str
    text: str
    html: str


class Channel(Protocol):
    async def send(self, mail: Mail) -> None:
        """Returns when the next server has taken the mail. What is sent twice may arrive twice: a connection can break
        between the server's yes and its arrival here.

        Raises ChannelUnavailableError, MessageRefusedError, RecipientRefusedError.
        """
        ...

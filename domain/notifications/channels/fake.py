"""A channel that keeps what it is given, for tests and trials."""

from domain.notifications.channels import messages
from domain.notifications.channels.base import Mail
from domain.notifications.errors import ChannelError


class FakeChannel:
    """`sent` holds the mails taken, in order. While `failure` is set, each send raises it instead."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []
        self.failure: ChannelError | None = None

    async def send(self, mail: Mail) -> None:
        messages.build(mail)
        if self.failure is not None:
            raise self.failure
        self.sent.append(mail)

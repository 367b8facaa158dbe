"""What every channel for mails must do, over each of them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import msgspec
import pytest

from domain.notifications.channels.base import Channel, Mail
from domain.notifications.channels.email import EmailChannel
from domain.notifications.channels.fake import FakeChannel
from domain.notifications.errors import ChannelUnavailableError, MessageRefusedError, RecipientRefusedError
from tests.smtp_server import smtp_server

MAIL = Mail(
    message_id="tsk_1@atelier.example",
    sender="Atelier <no-reply@atelier.example>",
    recipient="ann@customer.example",
    subject="Your image is ready",
    text="It is ready.\n",
    html="<p>It is ready.</p>",
)


class Subject(NamedTuple):
    channel: Channel
    arrived: Callable[[], list[tuple[str, str]]]
    """(recipient, subject) of what was taken."""
    refuse_recipients: Callable[[], None]
    be_away: Callable[[], None]
    recover: Callable[[], None]


@asynccontextmanager
async def over_smtp() -> AsyncIterator[Subject]:
    async with smtp_server() as server:

        def answer(text: str) -> Callable[[], None]:
            return lambda: setattr(server, "recipient_answer", text)

        yield Subject(
            EmailChannel(f"smtp://127.0.0.1:{server.port}"),
            lambda: [(message["To"], message["Subject"]) for message in server.messages],
            refuse_recipients=answer("550 5.1.1 No such user"),
            be_away=answer("451 4.3.0 Later"),
            recover=answer("250 2.1.5 OK"),
        )


@asynccontextmanager
async def in_memory() -> AsyncIterator[Subject]:
    channel = FakeChannel()
    yield Subject(
        channel,
        lambda: [(mail.recipient, mail.subject) for mail in channel.sent],
        refuse_recipients=lambda: setattr(channel, "failure", RecipientRefusedError("no such user")),
        be_away=lambda: setattr(channel, "failure", ChannelUnavailableError("later")),
        recover=lambda: setattr(channel, "failure", None),
    )


CHANNELS: dict[str, Callable[[], AbstractAsyncContextManager[Subject]]] = {"smtp": over_smtp, "fake": in_memory}


@pytest.fixture(params=CHANNELS)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with CHANNELS[request.param]() as subject:
        yield subject


async def test_a_mail_arrives(subject: Subject) -> None:
    await subject.channel.send(MAIL)
    assert subject.arrived() == [("ann@customer.example", "Your image is ready")]


async def test_a_refused_recipient_is_final(subject: Subject) -> None:
    subject.refuse_recipients()
    with pytest.raises(RecipientRefusedError):
        await subject.channel.send(MAIL)
    assert subject.arrived() == []


async def test_a_channel_that_is_away_works_again_later(subject: Subject) -> None:
    subject.be_away()
    with pytest.raises(ChannelUnavailableError):
        await subject.channel.send(MAIL)
    subject.recover()
    await subject.channel.send(MAIL)
    assert len(subject.arrived()) == 1


@pytest.mark.parametrize(
    "recipient",
    ["", "ann", "ann@", "@customer.example", "ann@a b.example", "a@b.example, c@d.example", "Ann <ann@b.example>",
     "ann@b.example\r\nBcc: eve@evil.example", "ann@b.example>\r\nDATA", "a..b@c.example", "a@b..example",
     "ann@" + "x" * 300, "änn@customer.example"],
)  # fmt: skip
async def test_what_is_not_one_address_is_refused_before_anything_is_sent(subject: Subject, recipient: str) -> None:
    with pytest.raises(RecipientRefusedError):
        await subject.channel.send(msgspec.structs.replace(MAIL, recipient=recipient))
    assert subject.arrived() == []


@pytest.mark.parametrize(
    "changes",
    [{"message_id": ""}, {"message_id": "<a@b>"}, {"message_id": "a@b\r\nBcc: e@e.example"}, {"message_id": "a"},
     {"sender": "nobody"}, {"sender": ""}, {"text": "\ud800"}],
)  # fmt: skip
async def test_what_cannot_be_a_message_is_refused_and_says_nothing_of_the_recipient(
    subject: Subject, changes: dict[str, str]
) -> None:
    with pytest.raises(MessageRefusedError) as caught:
        await subject.channel.send(msgspec.structs.replace(MAIL, **changes))
    assert not isinstance(caught.value, RecipientRefusedError)
    assert subject.arrived() == []

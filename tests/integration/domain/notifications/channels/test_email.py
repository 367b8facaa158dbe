"""Mail over real SMTP: what is sent, how it is encrypted, and what each answer of a server means."""

import asyncio
import datetime as dt
import ssl
import traceback
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from domain.notifications.channels import email
from domain.notifications.channels.base import Mail
from domain.notifications.channels.email import EmailChannel, SmtpUrlError
from domain.notifications.errors import (
    ChannelError,
    ChannelUnavailableError,
    MessageRefusedError,
    RecipientRefusedError,
)
from runtime.smtp_sink import SmtpSink
from tests.smtp_server import SmtpServer, smtp_server

MAIL = Mail(
    message_id="tsk_1@atelier.example",
    sender="Atelier <no-reply@atelier.example>",
    recipient="ann@customer.example",
    subject="Your image is ready",
    text="It is ready: größer.\n.\n",
    html="<p>It is ready.</p>",
)


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with smtp_server() as running:
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate of 127.0.0.1, signed by itself: its file, and the context of a server that has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return folder / "cert.pem", context


@pytest.fixture
def trusted(certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The server's context, whose certificate this process trusts the way an operator's machine would."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    return certificate[1]


async def failure(channel: EmailChannel, mail: Mail = MAIL) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        await channel.send(mail)
    return caught.value


async def test_a_mail_arrives_as_it_was_written_and_the_connection_is_ended_properly(server: SmtpServer) -> None:
    await EmailChannel(f"smtp://127.0.0.1:{server.port}").send(MAIL)
    [message], [envelope] = server.messages, server.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("no-reply@atelier.example", ["ann@customer.example"])
    assert message["Message-ID"] == "<tsk_1@atelier.example>"
    text = message.get_body(("plain",))
    assert text is not None
    assert text.get_content().replace("\r\n", "\n") == MAIL.text
    assert server.goodbyes == 1


async def test_a_retry_carries_the_same_message_id(server: SmtpServer) -> None:
    channel = EmailChannel(f"smtp://127.0.0.1:{server.port}")
    server.hang_up_at_data = True
    assert isinstance(await failure(channel), ChannelUnavailableError)
    server.hang_up_at_data = False
    await channel.send(MAIL)
    await channel.send(MAIL)
    assert [message["Message-ID"] for message in server.messages] == ["<tsk_1@atelier.example>"] * 2


@pytest.mark.parametrize(
    ("recipient_answer", "kind"),
    [
        ("550 5.1.1 No such user", RecipientRefusedError),
        ("550 no such user", RecipientRefusedError),
        ("552 5.2.2 Mailbox full", RecipientRefusedError),
        ("554 5.7.1 Relay access denied", MessageRefusedError),
        ("450 4.2.0 Greylisted", ChannelUnavailableError),
        ("421 4.3.2 Going down", ChannelUnavailableError),
    ],
)
async def test_an_answer_to_the_recipient_is_final_or_not_and_speaks_of_them_or_of_us(
    server: SmtpServer, recipient_answer: str, kind: type[ChannelError]
) -> None:
    server.recipient_answer = recipient_answer
    error = await failure(EmailChannel(f"smtp://127.0.0.1:{server.port}"))
    assert type(error) is kind
    assert recipient_answer[:3] in str(error)


@pytest.mark.parametrize(
    ("data_answer", "kind"),
    [("554 5.6.0 Content refused", MessageRefusedError), ("451 4.3.0 Try later", ChannelUnavailableError)],
)
async def test_an_answer_to_the_content_says_nothing_of_the_recipient(
    server: SmtpServer, data_answer: str, kind: type[ChannelError]
) -> None:
    server.data_answer = data_answer
    assert type(await failure(EmailChannel(f"smtp://127.0.0.1:{server.port}"))) is kind


@pytest.mark.parametrize(
    ("sender_answer", "kind"),
    [
        ("530 5.7.0 Authentication required", ChannelUnavailableError),
        ("550 5.7.1 Not your address", ChannelUnavailableError),
        ("552 5.3.4 Too large", MessageRefusedError),
    ],
)
async def test_a_refused_sender_waits_for_the_operator(
    server: SmtpServer, sender_answer: str, kind: type[ChannelError]
) -> None:
    server.sender_answer = sender_answer
    assert type(await failure(EmailChannel(f"smtp://127.0.0.1:{server.port}"))) is kind


async def test_no_server_is_a_matter_of_time(unused_tcp_port: int) -> None:
    assert isinstance(await failure(EmailChannel(f"smtp://127.0.0.1:{unused_tcp_port}")), ChannelUnavailableError)
    assert isinstance(await failure(EmailChannel("smtp://nowhere.invalid")), ChannelUnavailableError)


async def test_a_server_that_says_nothing_is_given_up_after_the_time_out() -> None:
    gone = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        error = await failure(EmailChannel(f"smtp://127.0.0.1:{port}", timeout=0.2))
        await gone.wait()
    assert isinstance(error, ChannelUnavailableError)
    assert "in time" in str(error)


async def test_tls_from_the_start(trusted: ssl.SSLContext) -> None:
    async with smtp_server(tls=trusted, auth=True) as server:
        await EmailChannel(f"smtps://atelier:right@127.0.0.1:{server.port}").send(MAIL)
        assert server.logins == [("atelier", "right")]
        assert len(server.messages) == 1


async def test_starttls_is_insisted_on(trusted: ssl.SSLContext, server: SmtpServer) -> None:
    async with smtp_server(starttls=trusted, auth=True) as encrypting:
        await EmailChannel(f"smtp://atelier:right@127.0.0.1:{encrypting.port}?starttls=1").send(MAIL)
        assert encrypting.encrypted == [True]
    plain = EmailChannel(f"smtp://atelier:right@127.0.0.1:{server.port}?starttls=1")
    assert isinstance(await failure(plain), ChannelUnavailableError)
    assert server.messages == []


@pytest.mark.parametrize("way", ["smtps", "starttls"])
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    certificate: tuple[Path, ssl.SSLContext], way: str
) -> None:
    context = certificate[1]
    async with smtp_server(**({"tls": context} if way == "smtps" else {"starttls": context})) as server:
        url = f"smtps://127.0.0.1:{server.port}" if way == "smtps" else f"smtp://127.0.0.1:{server.port}?starttls=1"
        assert isinstance(await failure(EmailChannel(url)), ChannelUnavailableError)
        assert server.messages == []


async def test_wrong_credentials_wait_for_the_operator_and_are_not_shown(trusted: ssl.SSLContext) -> None:
    async with smtp_server(tls=trusted, auth=True) as server:
        error = await failure(EmailChannel(f"smtps://atelier:wr%2Fong-pass@127.0.0.1:{server.port}"))
        assert server.logins[0] == ("atelier", "wr/ong-pass")
    assert isinstance(error, ChannelUnavailableError)
    shown = "".join(traceback.format_exception(error))
    assert "ong-pass" not in shown
    assert "535" in shown


async def test_no_error_repeats_an_address_or_a_servers_words(server: SmtpServer) -> None:
    server.recipient_answer = "550 5.1.1 <ann@customer.example> is unknown here"
    shown = "".join(traceback.format_exception(await failure(EmailChannel(f"smtp://127.0.0.1:{server.port}"))))
    assert "ann@" not in shown
    assert "550 5.1.1" in shown


async def test_a_mail_reaches_the_embedded_sink_as_a_file(tmp_path: Path) -> None:
    sink = SmtpSink(tmp_path)
    channel = EmailChannel(await sink.start())
    await asyncio.gather(
        *(channel.send(msgspec.structs.replace(MAIL, message_id=f"tsk_{n}@atelier.example")) for n in range(5))
    )
    await sink.stop()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert {name.partition("tsk_")[2] for name in names} == {f"{n}@atelier.example.eml" for n in range(5)}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example", ("mail.example", 25, False, False, None, None)),
        ("smtp://mail.example?starttls=1", ("mail.example", 587, False, True, None, None)),
        ("smtps://u:p%40ss@mail.example", ("mail.example", 465, True, False, "u", "p@ss")),
        ("smtp://u:p@mail.example:2525?starttls=1", ("mail.example", 2525, False, True, "u", "p")),
        ("smtp://u:p@relay.internal?starttls=0", ("relay.internal", 25, False, False, "u", "p")),
        ("smtp://u:p@127.0.0.1:1025", ("127.0.0.1", 1025, False, False, "u", "p")),
    ],
)
def test_the_address_of_a_server_says_how_to_speak_to_it(url: str, expected: tuple[object, ...]) -> None:
    assert msgspec.structs.astuple(email.parse_url(url)) == expected


@pytest.mark.parametrize(
    "url",
    ["", "mail.example:25", "http://mail.example", "smtp://", "smtp://mail.example:port", "smtp://mail.example?tls=1",
     "smtp://mail.example?starttls=yes", "smtps://mail.example?starttls=1", "smtp://user:hunter2@mail.example"],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SmtpUrlError) as caught:
        EmailChannel(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_printed_server_shows_no_password() -> None:
    assert repr(email.parse_url("smtps://user:hunter2@mail.example")) == "<SmtpServer mail.example:465>"

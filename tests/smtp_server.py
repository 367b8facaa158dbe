"""A real SMTP server for tests: it takes mails, or answers as it is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class SmtpServer:
    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.logins: list[tuple[str, str]] = []
        self.encrypted: list[bool] = []
        self.goodbyes = 0
        self.recipient_answer = "250 2.1.5 OK"
        self.data_answer = "250 2.0.0 Taken"
        self.sender_answer = "250 2.1.0 OK"
        self.password = "right"
        self.hang_up_at_data = False
        self.port = 0

    async def handle_MAIL(  # noqa: N802 - a hook of aiosmtpd
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.sender_answer.startswith("250"):
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return self.sender_answer

    async def handle_RCPT(  # noqa: N802 - a hook of aiosmtpd
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.recipient_answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient_answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - a hook of aiosmtpd
        if self.hang_up_at_data:
            server.transport.close()
            return "250 never heard"
        if self.data_answer.startswith("250"):
            message = message_from_bytes(envelope.original_content or b"", policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.messages.append(message)
            self.envelopes.append(envelope)
            self.encrypted.append(session.ssl is not None)
        return self.data_answer

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802 - a hook of aiosmtpd
        self.goodbyes += 1
        return "221 Bye"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: LoginPassword
    ) -> AuthResult:
        self.logins.append((login.login.decode(), login.password.decode()))
        return AuthResult(success=login.password.decode() == self.password, handled=False)


@asynccontextmanager
async def smtp_server(
    *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, auth: bool = False
) -> AsyncIterator[SmtpServer]:
    server = SmtpServer()
    loop = asyncio.get_running_loop()

    connections: list[SMTP] = []

    def accept() -> SMTP:
        connection = SMTP(
            server,
            hostname="localhost",
            loop=loop,
            tls_context=starttls,
            require_starttls=starttls is not None,
            authenticator=server.authenticate if auth else None,
            auth_require_tls=starttls is not None,
        )
        connections.append(connection)
        return connection

    listener = await loop.create_server(accept, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for transport in [t for each in connections for t in (each.transport, each._original_transport) if t]:
            transport.abort()
        await listener.wait_closed()
        await asyncio.sleep(0.01)  # lets the transports see their end

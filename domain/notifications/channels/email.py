"""E-mail by SMTP, one connection a mail."""

import asyncio
import re
import socket
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
import msgspec

from domain.notifications.channels import messages
from domain.notifications.channels.base import Mail
from domain.notifications.errors import (
    ChannelError,
    ChannelUnavailableError,
    MessageRefusedError,
    RecipientRefusedError,
)
from runtime import failpoints
from runtime.settings import SettingsError

_DEFAULT_PORTS = {"smtp": 25, "smtps": 465}
_SUBMISSION_PORT = 587
_GOODBYE_SECONDS = 2.0
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ENHANCED_CODE = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")
"""RFC 3463; the only part of a server's words that is repeated. 5.7 is policy: it speaks of the sender, not of the
recipient.
"""


class SmtpUrlError(SettingsError):
    """ATELIER_SMTP_URL can't be used. The text says why and never shows it."""


class SmtpServer(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    port: int
    tls: bool
    starttls: bool
    username: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"<SmtpServer {self.host}:{self.port}>"


class EmailChannel:
    def __init__(self, smtp_url: str, *, timeout: float = 20.0) -> None:
        """`timeout`: seconds for one answer of the server; a whole mail may take twice that.

        Raises SmtpUrlError.
        """
        self._server = parse_url(smtp_url)
        self._timeout = timeout

    async def send(self, mail: Mail) -> None:
        message = messages.build(mail)
        client = self._client()
        try:
            async with asyncio.timeout(self._timeout * 2):
                await client.connect()
                failpoints.hit("mail.after_connect")
                await client.send_message(message)
            await _say_goodbye(client)
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _translated(error) from None
        except ValueError:
            raise MessageRefusedError("the mail can't be sent as a message") from None
        finally:
            client.close()

    async def check(self) -> None:
        """Whether the server is there and lets us in; nothing is sent. Raises ChannelUnavailableError."""
        client = self._client()
        try:
            await client.connect()
            await _say_goodbye(client)
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _translated(error) from None
        finally:
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=self._server.host,
            port=self._server.port,
            use_tls=self._server.tls,
            start_tls=self._server.starttls,
            username=self._server.username,
            password=self._server.password,
            # Python's own choice asks the DNS, on the event loop.
            local_hostname=socket.gethostname(),
            timeout=self._timeout,
        )


async def _say_goodbye(client: aiosmtplib.SMTP) -> None:
    """The mail is taken already, so how this ends changes nothing."""
    try:
        await client.quit(timeout=_GOODBYE_SECONDS)
    except (aiosmtplib.SMTPException, OSError):
        return


def parse_url(url: str) -> SmtpServer:
    """`smtp://[user:password@]host[:port]`, `smtps://` for TLS from the start, `?starttls=1` to insist on STARTTLS.
    A password goes over an open connection only to this machine, or when `?starttls=0` says so.

    Raises SmtpUrlError.
    """
    try:
        parts = urlsplit(url)
        given_port = parts.port
        options = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    except ValueError:
        raise SmtpUrlError("the address of the mail server can't be read") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise SmtpUrlError("the address of the mail server begins with smtp://host or smtps://host")
    if set(options) - {"starttls"} or options.get("starttls", ["0"]) not in (["0"], ["1"]):
        raise SmtpUrlError("the address of the mail server takes one option, starttls=1 or starttls=0")
    tls, starttls = parts.scheme == "smtps", options.get("starttls") == ["1"]
    if tls and starttls:
        raise SmtpUrlError("smtps:// is TLS from the start; leave starttls out")
    if parts.username and not (tls or options or parts.hostname in _LOOPBACK):
        raise SmtpUrlError("a password would go over an open connection; use smtps:// or ?starttls=1 (or ?starttls=0)")
    return SmtpServer(
        host=parts.hostname,
        port=given_port or (_SUBMISSION_PORT if starttls else _DEFAULT_PORTS[parts.scheme]),
        tls=tls,
        starttls=starttls,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def _translated(error: Exception) -> ChannelError:
    """A refused sender or password is the operator's to correct: the mail waits for that instead of being given up."""
    match error:
        case aiosmtplib.SMTPRecipientsRefused():
            refusal = error.recipients[0]
            about_us = (_enhanced_code(refusal) or "").startswith("5.7.")
            return _by_code(refusal, MessageRefusedError if about_us else RecipientRefusedError)
        case aiosmtplib.SMTPDataError() | aiosmtplib.SMTPSenderRefused(code=552):
            return _by_code(error, MessageRefusedError)
        case aiosmtplib.SMTPResponseException():
            return _by_code(error, ChannelUnavailableError)
        case TimeoutError():
            return ChannelUnavailableError("the mail server did not answer in time")
        case _:
            return ChannelUnavailableError(f"the mail server can't be used ({type(error).__name__})")


def _by_code(error: aiosmtplib.SMTPResponseException, permanent: type[ChannelError]) -> ChannelError:
    kind = permanent if error.code >= 500 else ChannelUnavailableError
    return kind(f"the mail server answered {error.code} {_enhanced_code(error) or ''}".rstrip())


def _enhanced_code(error: aiosmtplib.SMTPResponseException) -> str | None:
    found = _ENHANCED_CODE.search(error.message)
    return found[0] if found else None

"""A Mail as the bytes of RFC 5322: text and HTML side by side, and headers that nothing in a mail can add to."""

import re
from email import policy
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

from domain.notifications import sanitising
from domain.notifications.channels.base import Mail
from domain.notifications.errors import MessageRefusedError, RecipientRefusedError
from runtime import clock

POLICY = policy.SMTP.clone(cte_type="7bit")
"""Not every server on the way takes eight bits. Bodies are quoted-printable, so that a person can read the source."""

_MESSAGE_ID = re.compile(r"[A-Za-z0-9._+-]{1,200}@[A-Za-z0-9.-]{1,200}")
_LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")
_DOMAIN = re.compile(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*")


def build(mail: Mail) -> EmailMessage:
    """Raises RecipientRefusedError when the recipient is no address, MessageRefusedError when the rest won't do."""
    if not _MESSAGE_ID.fullmatch(mail.message_id):
        raise MessageRefusedError("the message id is not of the form unique@domain")
    message = EmailMessage(policy=POLICY)
    try:
        message["From"] = _sender(mail.sender)
        message["To"] = _recipient(mail.recipient)
        message["Subject"] = _one_line(mail.subject)
        message["Message-ID"] = f"<{mail.message_id}>"
        message["Date"] = format_datetime(clock.machine())
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text, cte="quoted-printable")
        message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    except ValueError:
        raise MessageRefusedError("the mail can't be written as a message") from None
    return message


def _recipient(text: str) -> Address:
    try:
        return _address("", text)
    except ValueError:
        raise RecipientRefusedError("the recipient is not an e-mail address") from None


def _sender(text: str) -> Address:
    try:
        return _address(*parseaddr(text))
    except ValueError:
        raise MessageRefusedError("the sender is not an e-mail address") from None


def _address(name: str, spec: str) -> Address:
    """The domain may be international (IDNA), the local part may not: few servers take SMTPUTF8 (RFC 6531) yet.

    Raises ValueError.
    """
    local, _, domain = spec.strip().rpartition("@")
    ascii_domain = domain.encode("idna").decode()
    if not (_LOCAL_PART.fullmatch(local) and _DOMAIN.fullmatch(ascii_domain)):
        raise ValueError("not an address")
    try:
        return Address(_one_line(name), addr_spec=f"{local}@{ascii_domain}")
    except HeaderParseError as error:
        raise ValueError("not an address") from error


def _one_line(text: str) -> str:
    """Python's parser decodes `=?…?=` in what it is given, line breaks included (CVE-2024-6923), so none gets there."""
    return sanitising.one_line(text).replace("=?", "= ?")

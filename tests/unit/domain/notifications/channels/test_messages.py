import re
from email import message_from_bytes, policy
from email.message import EmailMessage

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from domain.notifications.channels import messages
from domain.notifications.channels.base import Mail
from domain.notifications.errors import MessageRefusedError

MAIL = Mail(
    message_id="tsk_1@atelier.example",
    sender="Atelier <no-reply@atelier.example>",
    recipient="ann@customer.example",
    subject="Your image is ready",
    text="It is ready: größer.\n",
    html="<p>It is ready: größer.</p>",
)
HEADERS = {"From", "To", "Subject", "Message-ID", "Date", "Auto-Submitted", "MIME-Version", "Content-Type"}


def received(mail: Mail) -> EmailMessage:
    message = message_from_bytes(messages.build(mail).as_bytes(), policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_a_mail_is_text_and_html_side_by_side() -> None:
    message = received(MAIL)
    assert message.get_content_type() == "multipart/alternative"
    text, html = message.iter_parts()
    assert (text.get_content_type(), text.get_content().replace("\r\n", "\n")) == ("text/plain", MAIL.text)
    assert (html.get_content_type(), html.get_content().strip()) == ("text/html", MAIL.html)


def test_the_headers_say_what_it_is() -> None:
    message = received(MAIL)
    assert set(message.keys()) == HEADERS
    assert message["Message-ID"] == "<tsk_1@atelier.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["From"] == "Atelier <no-reply@atelier.example>"
    assert message["Date"].datetime.tzinfo is not None


def test_a_message_is_seven_bit_and_its_lines_are_short() -> None:
    mail = msgspec.structs.replace(MAIL, subject="ß" * 300, text="ß" * 5000, html="ß" * 5000)
    raw = messages.build(mail).as_bytes()
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998


def test_international_names_and_domains_are_written_in_ascii() -> None:
    mail = msgspec.structs.replace(MAIL, sender="Atelier Zürich <post@zürich.example>", recipient="ann@köln.example")
    message = received(mail)
    assert message["From"].addresses[0].display_name == "Atelier Zürich"
    assert message["From"].addresses[0].addr_spec == "post@xn--zrich-kva.example"
    assert message["To"].addresses[0].addr_spec == "ann@xn--kln-sna.example"


@given(subject=st.text(max_size=200))
@example("Hello\r\nBcc: eve@evil.example")
@example("=?utf-8?q?Hello=0D=0ABcc:_eve=40evil.example?=")
@example("=?utf-8?b?SGVsbG8NCkJjYzogZXZlQGV2aWwuZXhhbXBsZQ==?=")
@example("==??utf-8?q?=0D=0ABcc:_eve=40evil.example?=")
@example("a" * 70 + " =?utf-8?q?=0D=0A?= b\u2028Bcc: eve@evil.example")
def test_no_subject_adds_a_header(subject: str) -> None:
    message = received(msgspec.structs.replace(MAIL, subject=subject))
    assert set(message.keys()) == HEADERS
    assert len(message.keys()) == len(HEADERS)
    assert "\n" not in message["Subject"]
    assert [address.addr_spec for address in message["To"].addresses] == [MAIL.recipient]


@given(name=st.text(max_size=100), address=st.one_of(st.emails(), st.text(max_size=60)))
@example(name="=?utf-8?q?a=0D=0ABcc:_eve=40evil.example?=", address="a@b.example")
@example(name='"a\r\nBcc: eve@evil.example"', address="a@b.example")
def test_no_sender_or_recipient_adds_a_header(name: str, address: str) -> None:
    mail = msgspec.structs.replace(MAIL, sender=f"{name} <{address}>", recipient=address)
    try:
        message = received(mail)
    except MessageRefusedError:
        return
    assert sorted(message.keys()) == sorted(HEADERS)
    assert len(message["To"].addresses) == len(message["From"].addresses) == 1


@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=500))
def test_any_text_is_carried_as_it_is(text: str) -> None:
    part = next(iter(received(msgspec.structs.replace(MAIL, text=text)).iter_parts()))
    carried = part.get_content().replace("\r\n", "\n")
    assert carried.removesuffix("\n") == re.sub(r"\r\n?", "\n", text).removesuffix("\n")

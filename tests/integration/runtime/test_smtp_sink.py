import asyncio
import smtplib
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import aiosmtplib
import pytest

from runtime.smtp_sink import SmtpSink


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mail"


@pytest.fixture
async def sink(folder: Path) -> AsyncIterator[SmtpSink]:
    sink = SmtpSink(folder)
    yield sink
    await sink.stop()


def message(subject: str = "Hello", message_id: str = "<one@atelier.example>") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@atelier.example", "b@customer.example", subject
    made["Message-ID"] = message_id
    made.set_content(".a line that begins with a dot\nÄnderung\n")
    return made


def send(url: str, *messages: EmailMessage) -> None:
    parts = urlsplit(url)
    with smtplib.SMTP(parts.hostname or "", parts.port or 0, timeout=10) as client:
        for each in messages:
            client.send_message(each)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_every_mail_is_a_file_that_reads_as_it_was_sent(sink: SmtpSink, folder: Path) -> None:
    url = await sink.start()
    await asyncio.to_thread(send, url, message())
    [name] = files_in(folder)
    assert name.endswith("-one@atelier.example.eml")
    stored = message_from_bytes((folder / name).read_bytes())
    assert stored["Subject"] == "Hello"
    assert stored.get_payload(decode=True) == ".a line that begins with a dot\r\nÄnderung\r\n".encode()


async def test_files_sort_by_the_time_of_arrival(sink: SmtpSink, folder: Path) -> None:
    url = await sink.start()
    sent = [message(str(number), f"<{9 - number}@atelier.example>") for number in range(9)]
    await asyncio.to_thread(send, url, *sent)
    subjects = [message_from_bytes((folder / name).read_bytes())["Subject"] for name in files_in(folder)]
    assert subjects == [str(number) for number in range(9)]


@pytest.mark.parametrize("message_id", ["<../../../etc/passwd@x>", "<a/b\\c:d@x>", f"<{'x' * 500}@x>", ""])
async def test_no_message_id_leads_out_of_the_folder(
    sink: SmtpSink, folder: Path, tmp_path: Path, message_id: str
) -> None:
    url = await sink.start()
    made = message()
    del made["Message-ID"]
    made["Message-ID"] = message_id
    await asyncio.to_thread(send, url, made)
    [name] = files_in(folder)
    assert "/" not in name
    assert len(name) < 255
    assert [path.name for path in tmp_path.iterdir()] == ["mail"]


async def test_many_mails_at_once_are_all_kept(sink: SmtpSink, folder: Path) -> None:
    parts = urlsplit(await sink.start())
    await asyncio.gather(
        *(aiosmtplib.send(message(), hostname=parts.hostname, port=parts.port, start_tls=False) for _ in range(20))
    )
    assert len(files_in(folder)) == 20
    assert not [name for name in files_in(folder) if name.startswith(".")]


async def test_the_folder_is_its_owners_alone(sink: SmtpSink, folder: Path) -> None:
    await sink.start()
    assert folder.stat().st_mode & 0o077 == 0


async def test_a_mail_that_cannot_be_written_is_refused_for_the_moment(sink: SmtpSink, folder: Path) -> None:
    url = await sink.start()
    folder.rmdir()
    with pytest.raises(smtplib.SMTPDataError) as caught:
        await asyncio.to_thread(send, url, message())
    assert caught.value.smtp_code == 452


async def test_a_stop_closes_the_port_and_open_connections(sink: SmtpSink) -> None:
    parts = urlsplit(await sink.start())
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    assert (await reader.readline()).startswith(b"220")
    await asyncio.wait_for(sink.stop(), 5)
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(parts.hostname, parts.port)
    await sink.stop()


async def test_two_sinks_run_side_by_side(folder: Path) -> None:
    one, two = SmtpSink(folder), SmtpSink(folder)
    assert await one.start() != await two.start()
    await one.stop()
    await two.stop()

"""A download is a whole new file or nothing."""

import asyncio
import hashlib
import random
from pathlib import Path

import pytest

from runtime import outbound
from tests import http_server

CONTENT = random.Random(1).randbytes(700_000)
TYPES = {"image/png", "image/jpeg"}


async def fetch(server: http_server.HttpServer, to: Path, *, max_bytes: int = 1_000_000) -> outbound.Downloaded:
    policy = outbound.Policy(allow=outbound.networks("127.0.0.0/8"))
    async with outbound.Outbound(policy, total_timeout=5) as client:
        return await outbound.download(client, server.url, to=to, max_bytes=max_bytes, content_types=TYPES, timeout=0.5)


def picture(content_type: str = "image/png", status: int = 200) -> bytes:
    return http_server.response(CONTENT, status=status, headers={"content-type": content_type})


async def test_a_picture_is_written_and_described(tmp_path: Path) -> None:
    to = tmp_path / "picture"
    async with http_server.serve(picture("Image/PNG; charset=binary")) as server:
        downloaded = await fetch(server, to, max_bytes=len(CONTENT))
    assert to.read_bytes() == CONTENT
    assert downloaded == outbound.Downloaded(
        path=to, sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT), content_type="image/png"
    )


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (picture("text/html"), outbound.UnusableResponseError),
        (picture(status=404), outbound.UnusableResponseError),
        (http_server.response(status=302, headers={"location": "/there"}), outbound.UnusableResponseError),
        (picture()[:-1], outbound.OutboundTimeoutError),
        (b"nonsense\r\n\r\n", outbound.ConnectionFailedError),
    ],
)
async def test_a_failed_download_leaves_no_file(answer: bytes, error: type[Exception], tmp_path: Path) -> None:
    async with http_server.serve(answer) as server:
        with pytest.raises(error):
            await fetch(server, tmp_path / "picture")
    assert list(tmp_path.iterdir()) == []


async def test_a_picture_that_says_it_is_too_large_is_not_read(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 999999999\r\n\r\n"
    async with http_server.serve(head) as server:
        with pytest.raises(outbound.ResponseTooLargeError):
            await fetch(server, tmp_path / "picture")
    assert list(tmp_path.iterdir()) == []


async def test_a_picture_that_grows_too_large_is_dropped(tmp_path: Path) -> None:
    async def flood(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
            await writer.drain()

    async with http_server.serve(flood) as server:
        with pytest.raises(outbound.ResponseTooLargeError):
            await fetch(server, tmp_path / "picture")
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"mine")
    async with http_server.serve(picture()) as server:
        with pytest.raises(FileExistsError):
            await fetch(server, tmp_path / "picture")
    assert (tmp_path / "picture").read_bytes() == b"mine"
    assert server.connections == 0

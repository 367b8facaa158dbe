"""Forms that carry a file, whole, broken and odd."""

import pytest

from api import errors, forms
from api.forms import Sent

BOUNDARY = "b0unda1y"


def form(*parts: tuple[str, bytes], end: bytes = b"--b0unda1y--\r\n") -> bytes:
    """Parts as their Content-Disposition and their content."""
    return b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: {head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts
    ) + end  # fmt: skip


FILE = ('form-data; name="file"; filename="me.png"', b"\x89PNG\r\n--b0unda1\r\n\x00")


class Request:
    """As much of a request as `file_of` asks for."""

    def __init__(self, content_type: str, body: bytes) -> None:
        self.headers = {"content-type": content_type} if content_type else {}
        self._body = body

    async def body(self) -> bytes:
        return self._body


async def sent(body: bytes, content_type: str = f"multipart/form-data; boundary={BOUNDARY}", name: str | None = None):
    return await forms.file_of(Request(content_type, body), name)


async def test_the_part_is_taken_byte_by_byte():
    assert await sent(form(FILE)) == Sent("me.png", FILE[1])
    assert await sent(form(FILE), name="logo.png") == Sent("logo.png", FILE[1])
    assert await sent(form(('form-data; name="file"', b""))) == Sent("", b"")


@pytest.mark.parametrize("media_type", ["image/png", "IMAGE/JPEG", "image/webp; x=y", "application/octet-stream"])
async def test_a_picture_as_it_is_needs_no_form(media_type):
    assert await sent(b"--b0unda1y", media_type, "x.png") == Sent("x.png", b"--b0unda1y")


@pytest.mark.parametrize("media_type", ["", "application/json", "text/html", "image/svg+xml", "multipart/mixed"])
async def test_other_bodies_are_not_taken(media_type):
    with pytest.raises(errors.MediaTypeUnsupported):
        await sent(b"x", media_type)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing of the kind",
        form(FILE, end=b""),
        form(FILE)[:40],
        form(("form-data; name=" + "x" * 9000, b"")),
        form(*[FILE] * 30),
    ],
)
async def test_a_broken_form_is_malformed(body):
    with pytest.raises(errors.BodyMalformed):
        await sent(body)


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=ü"]
)
async def test_a_form_without_a_boundary_is_malformed(content_type):
    with pytest.raises(errors.BodyMalformed):
        await sent(form(FILE), content_type)


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [
        ([], "/file"),
        ([FILE, FILE], "/file"),
        ([('form-data; name="files"', b"x")], ""),
        ([FILE, ('form-data; name="note"', b"x")], ""),
    ],
)
async def test_a_form_of_other_parts_does_not_fit(parts, pointer):
    with pytest.raises(errors.BodyInvalid) as refused:
        await sent(form(*parts))
    assert [field.pointer for field in refused.value.fields] == [pointer]

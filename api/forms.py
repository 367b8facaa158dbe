"""Bodies that carry a file: a form with a `file` part (RFC 7578), or the file itself."""

from typing import Final

import msgspec
import multipart

from api import errors, problems
from api.requests import Request

FORM: Final = "multipart/form-data"
PART: Final = "file"
RAW: Final = frozenset({"image/png", "image/jpeg", "image/webp", "application/octet-stream"})


class Sent(msgspec.Struct, frozen=True):
    """`name` is what the sender calls it; empty when he does not say."""

    name: str
    data: bytes


async def file_of(request: Request, name: str | None) -> Sent:
    """`name` is of the query, and goes before that of a form's part.

    Raises MediaTypeUnsupported, BodyMalformed, BodyInvalid, TooLarge.
    """
    media_type, options = multipart.parse_options_header(request.headers.get("content-type", ""))
    if media_type in RAW:
        return Sent(name or "", await request.body())
    if media_type != FORM:
        raise errors.MediaTypeUnsupported(f"send {FORM} with a part called {PART}, or a PNG, JPEG or WebP as it is")
    try:
        sent = _file_part(await request.body(), options.get("boundary", ""))
    except (multipart.MultipartError, ValueError) as error:
        raise errors.BodyMalformed(f"the body is no multipart form: {error}") from None
    return Sent(name or sent.name, sent.data)


def _file_part(body: bytes, boundary: str) -> Sent:
    """The one part; whatever stands beside it is not taken."""
    found: list[Sent] = []
    with multipart.PushMultipartParser(boundary, max_segment_count=8) as parser:
        segment, data = None, bytearray()
        for event in (*parser.parse(body), *parser.parse(b"")):
            if isinstance(event, multipart.MultipartSegment):
                segment, data = event, bytearray()
            elif event:
                data += event
            elif segment is None or segment.name != PART:
                raise problems.invalid_body("the form does not fit", ("", f"has one part, and its name is {PART}"))
            else:
                found.append(Sent(segment.filename or "", bytes(data)))
    if len(found) != 1:
        raise problems.invalid_body("the form does not fit", (f"/{PART}", "is there once"))
    return found[0]

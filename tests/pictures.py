"""Pictures for tests, good and hostile."""

import io
import struct
import zlib

from PIL import Image


def encoded(picture: Image.Image, kind: str, **how: object) -> bytes:
    written = io.BytesIO()
    picture.save(written, kind, **how)
    return written.getvalue()


def plain(kind: str = "PNG", size: tuple[int, int] = (40, 20), mode: str = "RGB") -> bytes:
    return encoded(Image.linear_gradient("L").resize(size).convert(mode), kind)


def with_metadata() -> bytes:
    """A JPEG that lies on its side, with a place, a comment and an XMP packet in it."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    exif.get_ifd(0x8825)[1] = "N"
    exif[0x010E] = "taken at my secret home"
    picture = Image.new("RGB", (40, 20), "white")
    picture.paste("red", (0, 0, 20, 20))
    return encoded(picture, "JPEG", quality=95, exif=exif, comment=b"a secret comment", xmp=b"<x>secret packet</x>")


def chunk(kind: bytes, body: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(side: int) -> bytes:
    """A PNG of black pixels: a thousandth of what it is unpacked."""
    rows = zlib.compressobj(9)
    row = b"\0" * (side // 8 + 2)
    packed = b"".join(rows.compress(row) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def with_chunk(kind: bytes, body: bytes) -> bytes:
    """A good PNG with one more chunk behind its header."""
    good = plain()
    return good[:33] + chunk(kind, body) + good[33:]

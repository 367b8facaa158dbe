"""Fetching a file that a customer names by URL."""

import asyncio
import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import aiohttp
import msgspec

from runtime.outbound.client import Outbound
from runtime.outbound.errors import ResponseTooLargeError, UnusableResponseError

_CHUNK = 256 * 1024


class Downloaded(msgspec.Struct, frozen=True):
    """`content_type` is what the server said, in lower case, without parameters; only decoding proves it."""

    path: Path
    sha256: str
    size: int
    content_type: str


async def download(
    client: Outbound,
    url: str,
    *,
    to: Path,
    max_bytes: int,
    content_types: Collection[str],
    timeout: float | None = None,
) -> Downloaded:
    """Writes a new file at `to`, in a thread; leaves none if it fails.

    Raises FileExistsError, UnusableResponseError (not 200, or a content type not in `content_types`; redirects are
    not followed), ResponseTooLargeError (past `max_bytes`), or any other OutboundError.
    """
    file = await asyncio.to_thread(to.open, "xb")
    try:
        async with client.exchange("GET", url, timeout=timeout) as exchange:
            content_type = _usable(exchange.response, max_bytes, content_types)
            sha256, size = await _write(exchange.response, file, max_bytes)
        await asyncio.to_thread(file.close)
    except BaseException:
        await asyncio.to_thread(_discard, file, to)
        raise
    return Downloaded(path=to, sha256=sha256, size=size, content_type=content_type)


def _usable(response: aiohttp.ClientResponse, max_bytes: int, content_types: Collection[str]) -> str:
    if response.status != 200:
        raise UnusableResponseError(f"The server answered {response.status} instead of 200.")
    content_type = response.content_type.lower()
    if content_type not in content_types:
        raise UnusableResponseError(f"The content type must be one of {', '.join(sorted(content_types))}.")
    if (response.content_length or 0) > max_bytes:
        raise ResponseTooLargeError
    return content_type


async def _write(response: aiohttp.ClientResponse, file: BinaryIO, max_bytes: int) -> tuple[str, int]:
    digest, size, pending = hashlib.sha256(), 0, bytearray()
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > max_bytes:
            raise ResponseTooLargeError
        pending += chunk
        if len(pending) >= _CHUNK:
            await asyncio.to_thread(_keep, file, digest, bytes(pending))
            pending.clear()
    await asyncio.to_thread(_keep, file, digest, bytes(pending))
    return digest.hexdigest(), size


def _keep(file: BinaryIO, digest: "hashlib._Hash", content: bytes) -> None:
    file.write(content)
    digest.update(content)


def _discard(file: BinaryIO, path: Path) -> None:
    file.close()
    path.unlink()

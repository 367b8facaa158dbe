"""The client of the rollout sees what goes wrong with a request, and mends nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from bench.deploys import client
from bench.deploys.client import Client

KEPT = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CLOSED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@contextlib.asynccontextmanager
async def answering(*connections: Sequence[bytes]) -> AsyncIterator[str]:
    """A server: what each connection is answered with, request by request, before it is closed."""
    rest = iter(connections)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in next(rest):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_connection_is_kept_until_the_server_ends_it() -> None:
    async with answering([KEPT, CLOSED], [KEPT]) as url:
        mine = Client(url, "key", fresh=False)
        assert [(await mine.ask("GET", "/"))[0] for _ in range(3)] == [200, 202, 200]
        mine.close()


async def test_a_fresh_one_asks_on_a_new_connection_each_time() -> None:
    async with answering([KEPT], [KEPT]) as url:
        mine = Client(url, "key", fresh=True)
        assert [await mine.ask("GET", "/") for _ in range(2)] == [(200, b"ok")] * 2


async def test_a_kept_connection_that_was_closed_between_two_requests_is_left() -> None:
    async with answering([KEPT], [KEPT]) as url:
        mine = Client(url, "key", fresh=False)
        await mine.ask("GET", "/")
        while not mine.left:
            await asyncio.sleep(0.01)
        assert (await mine.ask("GET", "/"))[0] == 200
        mine.close()


async def test_one_that_is_closed_under_a_request_fails_it() -> None:
    async with answering([KEPT, b""], [KEPT]) as url:
        mine = Client(url, "key", fresh=False)
        await mine.ask("GET", "/")
        with pytest.raises(client.FAULTS):
            await mine.ask("GET", "/")
        assert (await mine.ask("GET", "/"))[0] == 200
        mine.close()


@pytest.mark.parametrize("answer", [b"", KEPT[:-1], KEPT[:20]])
async def test_an_answer_that_is_not_whole_fails_the_request(answer: bytes) -> None:
    async with answering([answer]) as url:
        with pytest.raises(client.FAULTS):
            await Client(url, "key", fresh=False).ask("GET", "/")

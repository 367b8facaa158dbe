"""`python -m bench.raw_app`: the least that an ASGI app can do around our own accept function: a measure for what the
API does beside it. JSON in, JSON out; no framework, no keys to look up, nothing checked. Prints its address when it
serves, until its standard input ends.
"""

import argparse
import asyncio
import contextlib
import hashlib
import socket
import sys
from typing import Any

import asyncpg
import msgspec
import uvicorn
import uvloop

from domain.generations import acceptance
from runtime import clock, ids

CONNECTIONS = 16


class Body(msgspec.Struct):
    template: str
    input: dict[str, Any]


class Answer(msgspec.Struct):
    id: str
    status: str
    template: str
    input: dict[str, Any]


class App:
    """`organizations` by API key."""

    def __init__(self, pool: asyncpg.Pool, organizations: dict[str, str]) -> None:
        self._pool = pool
        self._organizations = {f"Bearer {key}".encode(): found for key, found in organizations.items()}
        self._decode = msgspec.json.Decoder(Body).decode
        self._encode = msgspec.json.Encoder().encode

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw = (await receive())["body"]
        headers = dict(scope["headers"])
        body, made = self._decode(raw), Answer(ids.new("gen"), "queued", "", {})
        made.template, made.input = body.template, body.input
        answer = self._encode(made)
        async with self._pool.acquire() as connection:
            await connection.fetchrow(
                acceptance.ACCEPT,
                self._organizations[headers[b"authorization"]],
                *self._arguments(headers, raw, made, answer),
            )
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 202, "headers": head})
        await send({"type": "http.response.body", "body": answer})

    def _arguments(self, headers: dict[bytes, bytes], raw: bytes, made: Answer, answer: bytes) -> tuple[object, ...]:
        request = self._encode({"input": made.input, "output": {}}).decode()
        event = self._encode({"engine": "template", "template": made.template, "price": acceptance.PRICE}).decode()
        key = headers[b"idempotency-key"].decode()
        return (
            *("raw", key, hashlib.sha256(raw).digest(), answer),
            *(made.id, made.status, "template", made.template, request, None, "{}", None, clock.machine()),
            *(acceptance.PRICE, ids.new("ent"), ids.new("evt"), event, None),
        )  # fmt: skip


async def serve(database: str, organizations: dict[str, str]) -> None:
    async with asyncpg.create_pool(database, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
            config = uvicorn.Config(
                App(pool, organizations),
                loop="none",
                http="httptools",
                lifespan="off",
                access_log=False,
                log_config=None,
            )
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve([listener]))
            print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
            await asyncio.to_thread(sys.stdin.read)
            server.should_exit = True
            await serving


def main() -> None:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m bench.raw_app", description=__doc__)
    parser.add_argument("--database", required=True, help="address, as atelier_app")
    keys = parser.parse_args(), sys.stdin.readline()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(keys[0].database, msgspec.json.decode(keys[1], type=dict[str, str])))


if __name__ == "__main__":
    main()

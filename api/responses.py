"""Answers whose bytes are made already."""

from typing import Any

from litestar import Response
from litestar.types import Receive, Scope, Send

from runtime import failpoints


class Ready(Response[Any]):
    """JSON that is sent as it is, past all that Litestar does to a response."""

    def __init__(self, body: bytes, status: int) -> None:  # the base class would only prepare what is not used
        self._body = body
        self._status = status
        self._headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    def add(self, name: bytes, value: bytes) -> None:
        """`name` in lower case."""
        self._headers.append((name, value))

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        failpoints.hit("api.mid_answer")
        await send({"type": "http.response.body", "body": self._body, "more_body": False})

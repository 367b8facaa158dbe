"""The Idempotency-Key header (after draft-ietf-httpapi-idempotency-key-header-07) for POSTs that create or charge."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from litestar import Response

from api.requests import Request
from domain.api_keys.keys import Caller
from domain.idempotency import keys
from domain.idempotency.keys import Answer, Key
from runtime.database import Transaction
from runtime.encryption import Keyring

REPLAYED: Final = "idempotent-replayed"


class Once:
    """Does something at most once under the request's key, in its transaction. Without a key it just does it."""

    def __init__(self, tx: Transaction, organization: str, key: Key | None, keyring: Keyring) -> None:
        self._tx = tx
        self._organization = organization
        self._key = key
        self._keyring = keyring

    async def answer(self, effect: Callable[[], Awaitable[Any]], *, status: int = 201) -> Response[Any]:
        """What `effect` returns, as JSON; or the bytes of the first answer again. A refusal gives the key back.

        Raises KeyReused, KeyBusy.
        """
        if self._key is None:
            return respond(Answer(status, msgspec.json.encode(await effect())))
        kept = await keys.begin(self._tx, self._organization, self._key, self._keyring)
        if kept is not None:
            return respond(kept, replayed=True)
        answer = Answer(status, msgspec.json.encode(await effect()))
        await keys.finish(self._tx, self._organization, self._key, answer, self._keyring)
        return respond(answer)


async def key_of(request: Request, caller: Caller, *parts: bytes) -> Key | None:
    """`parts`: what of the request decides its effect, where that is not the whole body. Raises KeyMalformed."""
    header = request.fields.get(b"idempotency-key")
    if header is None:
        return None
    scope = f"{caller.environment} {request.method} {request.scope['path_template']}"
    return keys.read(
        header.decode("latin-1"), scope, request.scope["path"].encode(), *(parts or [await request.body()])
    )


def respond(answer: Answer, *, replayed: bool = False) -> Response[Any]:
    headers = {REPLAYED: "true"} if replayed else None
    return Response(answer.body, status_code=answer.status, media_type="application/json", headers=headers)

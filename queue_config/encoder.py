"""Messages on the wire: one short JSON array, checked as it is read."""

from typing import Any

import dramatiq
import dramatiq.errors
import msgspec
from dramatiq.encoder import MessageData


class _Message(msgspec.Struct, array_like=True, frozen=True):
    queue_name: str
    actor_name: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    message_id: str
    message_timestamp: int


_decoder = msgspec.json.Decoder(_Message)


class Encoder(dramatiq.Encoder):
    def encode(self, data: MessageData) -> bytes:
        return msgspec.json.encode(_Message(**data))

    def decode(self, data: bytes) -> MessageData:
        """Raises DecodeError when the bytes are not a message of ours."""
        try:
            return msgspec.structs.asdict(_decoder.decode(data))
        except msgspec.DecodeError as error:
            raise dramatiq.errors.DecodeError("this is not a message", data, error) from error

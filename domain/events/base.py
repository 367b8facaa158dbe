"""What an event is. Subclasses live in each module's `events.py` and enter the registry by being defined."""

from typing import Any, ClassVar

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact, past tense. Fields hold ids, states and amounts; never prompts, inputs, addresses or texts.

    `type` is `noun.verb`. `examples` keeps one stored example of `data` per version: a reader must be able to take
    the current version and the one before it.
    """

    type: ClassVar[str]
    version: ClassVar[int] = 1
    examples: ClassVar[dict[int, dict[str, Any]]]
    public: ClassVar[bool] = True
    """Whether customers see it: in `GET /v1/events` and by webhook."""

    subject: str
    """Id of the thing spoken of."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        REGISTRY[cls.type] = cls

    def data(self) -> dict[str, Any]:
        """What the log stores: every field but the subject; absent ones are left out."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        del fields["subject"]
        return {name: value for name, value in fields.items() if value is not None}


REGISTRY: dict[str, type[Event]] = {}


def read(type_: str, subject: str, data: dict[str, Any]) -> Event:
    """Raises KeyError for a type this code doesn't know, msgspec.ValidationError for data that does not fit it."""
    return msgspec.convert({**data, "subject": subject}, REGISTRY[type_])

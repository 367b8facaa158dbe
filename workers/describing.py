"""How the thing that an event speaks of looks from outside; what webhooks and mails say of it."""

from typing import Any

import msgspec

from domain.events.base import Event
from domain.generations import reading
from domain.tasks.outcomes import Describe
from runtime.database import Reader
from storage.addresses import ObjectUrls


def describer(urls: ObjectUrls) -> Describe:
    async def describe(tx: Reader, event: Event) -> dict[str, Any]:
        if event.subject.startswith("gen_"):
            view: dict[str, Any] = msgspec.to_builtins(await reading.one(tx, event.subject, urls))
            return view
        return {"id": event.subject, **event.data()}

    return describe

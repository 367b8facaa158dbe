"""How the thing that an event speaks of looks from outside; what webhooks and mails say of it."""

from collections.abc import Sequence
from typing import Any

import msgspec

from domain.events.base import Event
from domain.generations import reading
from domain.tasks.outcomes import Describe, DescribeMany
from runtime.database import Reader, SystemDatabase
from storage.addresses import ObjectUrls


def describer(urls: ObjectUrls) -> Describe:
    async def describe(tx: Reader, event: Event) -> dict[str, Any]:
        if _is_generation(event):
            view: dict[str, Any] = msgspec.to_builtins(await reading.one(tx, event.subject, urls))
            return view
        return _itself(event)

    return describe


def many_describer(urls: ObjectUrls) -> DescribeMany:
    async def describe_many(system: SystemDatabase, told: Sequence[tuple[str, Event]]) -> list[dict[str, Any]]:
        wanted = {(organization, event.subject) for organization, event in told if _is_generation(event)}
        views = await reading.many(system, wanted, urls) if wanted else {}
        return [
            msgspec.to_builtins(views[organization, event.subject]) if _is_generation(event) else _itself(event)
            for organization, event in told
        ]

    return describe_many


def _is_generation(event: Event) -> bool:
    return event.subject.startswith("gen_")


def _itself(event: Event) -> dict[str, Any]:
    return {"id": event.subject, **event.data()}

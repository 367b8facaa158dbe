"""The page that shows the whole flow: which actors run on which event, for which targets."""

from typing import Any

import msgspec

from domain.api_keys.events import ApiKeyCreated, ApiKeyRevoked
from domain.dead_letters.events import BulkOperationAdvanced, BulkOperationEnded, BulkOperationStarted
from domain.events.base import Event
from domain.files.events import FileDeleted, FileUploaded
from domain.generations.events import (
    GenerationAccepted,
    GenerationCancelled,
    GenerationFailed,
    GenerationRetried,
    GenerationSucceeded,
)
from domain.tasks.events import TaskDied
from domain.upkeep.events import CollectionDue, RetentionDue, StorageCheckDue, SweepDue
from domain.webhooks.events import (
    DeliveryReplayed,
    EndpointChanged,
    EndpointCreated,
    EndpointDeleted,
    EndpointDisabled,
    EndpointTested,
)
from workers.actor import Actor
from workers.actors import dead_letters, generations, notifications, upkeep, webhooks


class Reaction(msgspec.Struct, frozen=True, kw_only=True):
    """`of`: only when that actor's task died. `targets`: an SQL function that names one task each.
    `scheduled`: the task waits for the event's `run_at`.
    """

    actor: Actor
    of: Actor | None = None
    targets: str | None = None
    scheduled: bool = False


class Silent(msgspec.Struct, frozen=True):
    """Nothing reacts to the event, for this reason."""

    reason: str


def to(actor: Actor, *, of: Actor | None = None, targets: str | None = None, scheduled: bool = False) -> Reaction:
    return Reaction(actor=actor, of=of, targets=targets, scheduled=scheduled)


tell_endpoints = to(webhooks.deliver, targets="webhook_targets")
tell_people = to(notifications.mail, targets="mail_targets")

REACTIONS: dict[type[Event], tuple[Reaction, ...] | Silent] = {
    GenerationAccepted: (to(generations.render, scheduled=True), tell_endpoints),
    GenerationRetried: (to(generations.render), tell_endpoints),
    GenerationSucceeded: (tell_endpoints, tell_people),
    GenerationFailed: (tell_endpoints, tell_people),
    GenerationCancelled: (to(generations.withdraw), tell_endpoints),
    TaskDied: (
        to(generations.abandon, of=generations.render),
        to(webhooks.give_up, of=webhooks.deliver),
        to(dead_letters.give_up, of=dead_letters.carry_out),
    ),
    EndpointTested: (tell_endpoints,),
    DeliveryReplayed: (to(webhooks.deliver),),
    EndpointDeleted: (to(webhooks.purge),),
    BulkOperationStarted: (to(dead_letters.carry_out),),
    BulkOperationAdvanced: (to(dead_letters.carry_out),),
    SweepDue: (to(upkeep.sweep),),
    RetentionDue: (to(upkeep.prune),),
    CollectionDue: (to(upkeep.collect),),
    StorageCheckDue: (to(upkeep.check_storage),),
    BulkOperationEnded: Silent("who started it looks at it"),
    EndpointCreated: Silent("it hears of what happens from its commit on"),
    EndpointChanged: Silent("each delivery reads its endpoint anew"),
    EndpointDisabled: Silent("its open deliveries fail at their next attempt"),
    FileUploaded: Silent("nothing is made of a picture before a generation names it"),
    FileDeleted: Silent("its bytes may be another file's or an image's too, and stay"),
    ApiKeyCreated: Silent("the key works from its commit on"),
    ApiKeyRevoked: Silent("the API processes see it in the feed and forget the key"),
}


def rows() -> list[dict[str, Any]]:
    """The table as the relay's SQL reads it (`domain/tasks/expansion.sql`)."""
    return [
        {
            "event": event.type,
            "actor": reaction.actor.name,
            "queue": reaction.actor.queue.name,
            "priority": reaction.actor.queue.priority,
            "of": reaction.of.name if reaction.of else None,
            "targets": reaction.targets,
            "scheduled": reaction.scheduled,
        }
        for event, reactions in REACTIONS.items()
        if not isinstance(reactions, Silent)
        for reaction in reactions
    ]

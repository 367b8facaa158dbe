"""By which SQL function a process claims."""

from collections.abc import Iterable

import msgspec
import pytest

from domain.generations import batches
from domain.tasks import claims
from workers.actor import ACTORS, Actor
from workers.actors import generations, webhooks
from workers.app import actors_of
from workers.execution import claiming


def with_claim(actor: Actor, function: str) -> Actor:
    return msgspec.structs.replace(actor, batch=msgspec.structs.replace(actor.batch, claim=function))


@pytest.mark.parametrize(
    ("actors", "function"),
    [
        (actors_of("images").values(), batches.CLAIM),
        (actors_of("io").values(), claims.CLAIM),
        (ACTORS.values(), batches.CLAIM),
        ((), claims.CLAIM),
    ],
)
def test_who_draws_begins_images_with_their_claim_and_nobody_else_does(actors: Iterable[Actor], function: str) -> None:
    assert claiming(actors) == function


def test_two_functions_in_one_process_are_refused() -> None:
    others = with_claim(webhooks.deliver, "claim_and_load")
    with pytest.raises(ValueError, match="claim_and_load and claim_and_start"):
        claiming([generations.render, others])

"""Many dead letters at once."""

from domain.dead_letters import carrying_out, operations
from queue_config import queues
from workers.actor import actor

carry_out = actor(
    "dead_letters.carry_out",
    queue=queues.UPKEEP,
    prepare=carrying_out.begin,
    work=carrying_out.carry_out,
    record=carrying_out.record,
)
give_up = actor("dead_letters.give_up", queue=queues.LIFECYCLE, prepare=operations.fail)

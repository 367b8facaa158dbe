"""Deliveries of webhooks."""

from domain.webhooks import deliveries
from queue_config import queues, retries
from workers.actor import actor

deliver = actor(
    deliveries.DELIVER,
    queue=queues.WEBHOOKS,
    policy=retries.WEBHOOK,
    prepare=deliveries.prepare,
    work=deliveries.send,
    record=deliveries.record,
    replay=deliveries.replay_dead,
)
give_up = actor("webhooks.give_up", queue=queues.LIFECYCLE, prepare=deliveries.give_up)

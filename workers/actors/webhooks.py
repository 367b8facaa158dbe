"""Deliveries of webhooks."""

from domain.webhooks import batches, deliveries, removal
from queue_config import queues, retries
from workers.actor import Batch, actor

deliver = actor(
    deliveries.DELIVER,
    queue=queues.WEBHOOKS,
    policy=retries.WEBHOOK,
    prepare=deliveries.prepare,
    work=deliveries.send,
    record=deliveries.record,
    batch=Batch(prepare=batches.prepare, fits=batches.fits, record=batches.record, says=False),
)
give_up = actor("webhooks.give_up", queue=queues.LIFECYCLE, prepare=deliveries.give_up)
purge = actor("webhooks.purge", queue=queues.LIFECYCLE, prepare=removal.purge, work=removal.go_on)
